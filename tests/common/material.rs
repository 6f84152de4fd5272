//! What the scenarios copy, unpack and clone: made once for a test, outside of any mount, owned by root.

use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::bounded::{shell, succeeded};
use super::{fresh_dir, tree};

/// Identity and clock of git, so that two runs make the same commits.
pub(crate) const GIT_ENVIRONMENT: &str = "\
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1\n\
    export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org GIT_AUTHOR_DATE='1500000000 +0000'\n\
    export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org GIT_COMMITTER_DATE='1500000000 +0000'\n";

/// `tree` (this many files), the same packed as `tree.tar` and `tree.zip`, `repo.git` (40 files, 10 commits),
/// `big` (3,000,000 bytes) and `text` (2,000 lines).
pub(crate) fn make(files: usize) -> TempDir {
    let dir = fresh_dir("material-");
    std::fs::create_dir(dir.path().join("tree")).unwrap();
    tree::make_creatable(&dir.path().join("tree"), 2026, SystemTime::now(), files);
    let script = format!("set -eu -o pipefail\n{GIT_ENVIRONMENT}{MAKE}");
    succeeded("material", shell(Duration::from_secs(120), dir.path(), &script, &[]));
    dir
}

const MAKE: &str = r#"
umask 022
chown -R root:root .
# Tools run by root rely on being allowed to fill any directory; the servers' user is not.
find tree -type d -exec chmod u+w {} +
tar -cf tree.tar tree
zip -q -r tree.zip tree
seq 1000000 | openssl enc -aes-128-ctr -nosalt -pass pass:material -pbkdf2 | dd bs=1000 count=3000 iflag=fullblock status=none >big || true
seq -f 'line %g of a plain text, as editors like it' 2000 >text
git init -q -b main work
cd work
for round in $(seq 10); do
  mkdir -p "dir$((round % 4))/deeper"
  for file in 1 2 3 4; do
    seq "$round" $((round * 50)) >"dir$((round % 4))/deeper/$round-$file.txt"
    echo "$round" >>"file$file"
  done
  chmod 755 "dir$((round % 4))/deeper/$round-1.txt"
  git add -A
  git commit -q -m "commit $round"
done
cd ..
git clone -q --bare work repo.git
rm -rf work
"#;
