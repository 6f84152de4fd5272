//! Whole trees by ordinary tools: cp, rsync, tar, unzip, git, rm.

use crate::common::mount::Mount;
use crate::common::scenario::{Place, Scenario, options_for_tools, rehearse, run, scenario};
use crate::common::server::{Kind, Options, Server, User};
use crate::common::{material, writable_dir};

on_every_server!(copies_of_two_thousand_files_arrive, trees_and_repositories_arrive);

/// As many files as the largest copy has.
const MANY: usize = 2000;

/// For tools that touch each file several times.
const SOME: usize = 300;

const COPY: [Scenario; 2] = [
    scenario("cp", r#"cp -r "$1/tree" copy; find copy | wc -l"#),
    scenario(
        "rm",
        r#"
        cp -r "$1/tree" copy
        # Of what nobody may write into, only root of the same machine can remove a name.
        chmod -R u+rwX copy
        rm -r copy
        ls -A
        "#,
    ),
];

pub(crate) const TREES: [Scenario; 9] = [
    scenario(
        "rsync",
        r#"
        rsync -a --stats "$1/tree/" copy | grep 'regular files transferred'
        rsync -a --stats "$1/tree/" copy | grep 'regular files transferred'
        # What changed is sent, what is gone goes, nothing else is touched.
        cp -a "$1/tree" "$2/changed"
        cd "$2/changed"
        chmod -R u+rwX .
        find . -type f | LC_ALL=C sort | sed -n 36,40p | xargs -d '\n' rm
        find . -type f | LC_ALL=C sort | sed -n 1,10p | while read -r file; do echo more >>"$file"; done
        cd "$OLDPWD"
        rsync -a --delete --stats "$2/changed/" copy | grep -E 'regular files transferred|deleted files: [0-9]+ '
        "#,
    ),
    scenario(
        "rsync-inplace",
        r#"
        cp "$1/big" "$2/big"
        rsync -a --inplace "$2/big" .
        printf patched | dd of="$2/big" bs=1 seek=1500000 conv=notrunc status=none
        echo appended >>"$2/big"
        rsync -a --inplace --no-whole-file --stats "$2/big" . | grep 'regular files transferred'
        truncate -s 2000000 "$2/big"
        rsync -a --inplace --no-whole-file --stats "$2/big" . | grep 'regular files transferred'
        cmp "$2/big" big
        rsync -a --append "$1/text" .
        "#,
    ),
    scenario("cp-a", r#"cp -a "$1/tree" copy; cp -a copy again; diff -r copy again"#),
    scenario("tar", r#"tar -xf "$1/tree.tar"; tar -df "$1/tree.tar" | grep -v 'Mod time differs' || true"#),
    scenario(
        "tar-out",
        r#"tar -xf "$1/tree.tar"; tar -cf - tree | tar -xf - -C "$2"; diff -r "$1/tree" "$2/tree""#,
    ),
    scenario("unzip", r#"unzip -q "$1/tree.zip""#),
    Scenario {
        name: "git",
        script: r#"
        export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
        export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org GIT_AUTHOR_DATE='1600000000 +0000'
        export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org
        export GIT_COMMITTER_DATE='1600000000 +0000'
        git -c core.symlinks=false clone -q "file://$1/repo.git" work
        cd work
        # A clone looks whether links can be made here; the answer is no part of what is compared.
        git config --unset core.symlinks || true
        git config pack.threads 1
        git config gc.auto 0
        git status --porcelain
        echo changed >>file1
        mkdir new
        echo new >new/file
        git mv file2 file2-moved
        git rm -q file3
        git add -A
        git commit -q -m change
        git checkout -q -b side HEAD~3
        echo side >side
        git add side
        git commit -q -m side
        git checkout -q main
        git merge -q -m merged side
        git stash list
        git gc -q
        git fsck --full --strict 2>&1
        git status --porcelain
        git log --format='%H %s'
        git count-objects -v | grep -v '^size'
        "#,
        unlike: &["work/.git/"],
    },
    scenario(
        "mkdir-rm",
        r#"
        mkdir -p a/b/c/d/e
        touch a/b/c/d/e/file a/file
        rmdir a 2>/dev/null || echo not empty
        mkdir a 2>/dev/null || echo is there
        rm a 2>/dev/null || echo is a directory
        rmdir a/file 2>/dev/null || echo is a file
        mkdir a/file/below 2>/dev/null || echo is no directory
        rm -r a
        ls -A
        mkdir -m 700 private
        mkdir -m 1777 shared 2>/dev/null || mkdir -m 777 shared
        chmod 755 shared
        install -D -m 640 "$1/text" deep/er/installed
        "#,
    ),
    scenario(
        "touch",
        r#"
        touch now
        touch -d '2001-02-03 04:05:06 UTC' old
        cp "$1/text" text
        touch -r "$1/text" text
        mkdir dir
        touch -d '2002-03-04 05:06:07 UTC' dir/file
        chmod 600 old
        chmod 755 text
        stat -c '%n %a %s' now old text dir dir/file
        stat -c '%n %Y' old dir/file
        "#,
    ),
];

fn copies_of_two_thousand_files_arrive(kind: Kind) {
    on_mounts(kind, MANY, &COPY);
}

fn trees_and_repositories_arrive(kind: Kind) {
    on_mounts(kind, SOME, &TREES);
}

/// Runs the scenarios in passive and in active mode.
pub(crate) fn on_mounts(kind: Kind, files: usize, scenarios: &[Scenario]) {
    let material = material::make(files);
    for mode in ["mode=passive", "mode=active"] {
        let served = writable_dir("served-");
        let server = Server::start(kind, served.path(), &Options::default());
        let options = [&[mode], options_for_tools(kind)].concat();
        let mount = Mount::start(&server.url(User::Tester, "/"), &options);
        println!("{kind:?}, {mode}");
        let place = Place { mounted: mount.path(), served: served.path(), kind: Some(kind) };
        run(place, material.path(), scenarios);
    }
}

#[test]
fn the_scenarios_of_trees_are_right_in_a_plain_directory() {
    let material = material::make(SOME);
    rehearse(material.path(), &COPY);
    rehearse(material.path(), &TREES);
}
