//! Commands that change the tree, uploads apart.

use super::connection::{Connection, Step};
use super::quirks::Quirks;
use super::tree::{join, seconds};
use super::writing::Setting;

/// All that change something; two-argument MDTM is the one that cannot be told by its verb.
const CHANGES: [&str; 12] =
    ["STOR", "APPE", "DELE", "MKD", "XMKD", "RMD", "XRMD", "RNFR", "RNTO", "MFMT", "MFF", "SITE"];

impl Connection<'_> {
    /// Obeys a command that changes something; `None` when it is none.
    pub(super) fn change(&mut self, quirks: &Quirks, verb: &str, argument: &str, cwd: &str) -> Option<Step> {
        let writing = &quirks.writing;
        let setting_time = verb == "MDTM" && writing.mdtm_sets && time_and_path(argument).is_some();
        if !CHANGES.contains(&verb) && !setting_time {
            return None;
        }
        if let Some(text) = writing.denied {
            return Some(self.reply(text));
        }
        let mut path = self.resolve(quirks, cwd, argument);
        if verb == "RNTO" && self.renaming.as_ref() == Some(&path) {
            // Only the case changes.
            path = join(cwd, argument);
        }
        if writing.tidies_names && ["STOR", "APPE", "MKD", "RNTO"].contains(&verb) {
            path = tidy(&path);
        }
        Some(match verb {
            "STOR" if writing.allo && !std::mem::take(&mut self.allocated) => {
                self.reply("503 ALLO required before STOR")
            }
            "STOR" if writing.write_once && self.is_there(&path) => self.reply("553 File exists"),
            "STOR" if writing.renames_uploads => self.store(quirks, "STOR", &format!("{path}.1")),
            "STOR" => self.store(quirks, "STOR", &path),
            "APPE" => self.store(quirks, "APPE", &path),
            "DELE" if writing.keeps.is_some() => self.reply(writing.keeps.unwrap_or_default()),
            "DELE" => {
                std::thread::sleep(writing.slow_names.unwrap_or_default());
                self.done(|tree| tree.remove_file(&path), "250 Deleted")
            }
            "MKD" | "XMKD" if self.is_there(&path) => self.reply(writing.mkd_exists),
            "MKD" | "XMKD" => {
                let told = format!("257 \"{}\" created", path.replace('"', "\"\""));
                self.done(|tree| tree.make_directory(&path), writing.mkd_done.unwrap_or(&told))
            }
            "RMD" | "XRMD" => self.done(|tree| tree.remove_directory(&path), "250 Removed"),
            "RNFR" if self.is_there(&path) => {
                self.renaming = Some(path);
                self.reply("350 Ready for RNTO")
            }
            "RNFR" => self.reply(&format!("550 {argument}: No such file or directory")),
            "RNTO" => match self.renaming.take() {
                Some(from) => {
                    let replaces = writing.rnto_replaces;
                    let renamed = self.shared.tree.lock().rename(&from, &path, replaces);
                    std::thread::sleep(writing.slow_names.unwrap_or_default());
                    self.done(|_| renamed, "250 Renamed")
                }
                None => self.reply("503 Use RNFR first"),
            },
            "SITE" => self.site(quirks, argument, cwd),
            "MFF" => self.modify_facts(quirks, argument, cwd),
            _ => {
                let setting = if verb == "MFMT" { writing.mfmt } else { Setting::Works };
                self.set_time(setting, argument, cwd)
            }
        })
    }

    fn is_there(&self, path: &str) -> bool {
        self.shared.tree.lock().exists(path)
    }

    fn site(&mut self, quirks: &Quirks, argument: &str, cwd: &str) -> Step {
        let (word, rest) = argument.split_once(' ').unwrap_or((argument, ""));
        match word.to_ascii_uppercase().as_str() {
            "CHMOD" => {
                let parsed = rest
                    .split_once(' ')
                    .and_then(|(mode, path)| u16::from_str_radix(mode, 8).ok().map(|mode| (mode, path)));
                let Some((mode, path)) = parsed else { return self.reply("501 Bad mode") };
                let path = join(cwd, path);
                self.set(quirks.writing.chmod, |tree| tree.set_mode(&path, mode))
            }
            "CHGRP" => match rest.split_once(' ').map(|(group, path)| (group.parse(), join(cwd, path))) {
                Some((Ok(group), path)) => {
                    self.set(quirks.writing.chgrp, |tree| tree.set_group(&path, group))
                }
                _ => self.reply("501 Bad group"),
            },
            "UTIME" if quirks.writing.utime_of_three => match times_of_three(rest) {
                Some(turned) => self.set_time(quirks.writing.utime, &turned, cwd),
                None => self.reply("550 No such file"),
            },
            "UTIME" => self.set_time(quirks.writing.utime, rest, cwd),
            "SYMLINK" if quirks.writing.symlink => {
                let Some((target, path)) = rest.split_once(' ') else { return self.reply("501 Two paths") };
                let path = join(cwd, path);
                self.done(|tree| tree.make_link(target, &path), "200 Linked")
            }
            _ => self.reply("500 Unknown SITE command"),
        }
    }

    /// `MFF fact=value; path`.
    fn modify_facts(&mut self, quirks: &Quirks, argument: &str, cwd: &str) -> Step {
        let setting = quirks.writing.mff;
        let Some((fact, path)) = argument.split_once("; ") else { return self.reply("501 Bad facts") };
        match fact.split_once('=') {
            Some(("modify", time)) => self.set_time(setting, &format!("{time} {path}"), cwd),
            Some(("UNIX.mode", mode)) => {
                let Ok(mode) = u16::from_str_radix(mode, 8) else { return self.reply("501 Bad mode") };
                let path = join(cwd, path);
                self.set(setting, |tree| tree.set_mode(&path, mode))
            }
            Some(("UNIX.group", group)) => {
                let Ok(group) = group.parse() else { return self.reply("501 Bad group") };
                let path = join(cwd, path);
                self.set(quirks.writing.mff_group, |tree| tree.set_group(&path, group))
            }
            _ => self.reply("501 Bad facts"),
        }
    }

    fn set_time(&mut self, setting: Setting, argument: &str, cwd: &str) -> Step {
        let Some((time, path)) = time_and_path(argument) else { return self.reply("501 Bad time") };
        let path = join(cwd, path);
        let usual = format!("213 Modify={argument}");
        let text = self.quirks().writing.mfmt_done.unwrap_or(&usual).to_owned();
        let time = if let Setting::Local(east) = setting { time - east } else { time };
        self.set_with(setting, |tree| tree.set_time(&path, time), &text)
    }

    fn set(&mut self, setting: Setting, set: impl FnOnce(&mut super::Tree) -> Result<(), String>) -> Step {
        self.set_with(setting, set, "200 Command successful")
    }

    fn set_with(
        &mut self,
        setting: Setting,
        set: impl FnOnce(&mut super::Tree) -> Result<(), String>,
        text: &str,
    ) -> Step {
        match setting {
            Setting::Works | Setting::Local(_) => self.done(set, text),
            Setting::Lies => self.reply(text),
            Setting::Unknown => self.reply("500 Unknown command"),
            Setting::Refused => self.reply("550 Operation not permitted"),
        }
    }

    fn done(&mut self, change: impl FnOnce(&mut super::Tree) -> Result<(), String>, text: &str) -> Step {
        let result = change(&mut self.shared.tree.lock());
        match result {
            Ok(()) => self.reply(text),
            Err(reason) => self.reply(&format!("550 {reason}")),
        }
    }
}

/// `YYYYMMDDHHMMSS path`.
fn time_and_path(argument: &str) -> Option<(i64, &str)> {
    let (time, path) = argument.split_once(' ')?;
    Some((seconds(time)?, path))
}

/// `path atime mtime ctime UTC` as `mtime path`.
fn times_of_three(argument: &str) -> Option<String> {
    let mut words = argument.rsplitn(5, ' ');
    let (zone, _, modified, _, path) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    (zone == "UTC").then(|| format!("{modified} {path}"))
}

fn tidy(path: &str) -> String {
    let kept = path.trim_end_matches(' ');
    let cleaned: String = kept.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    cleaned + &"_".repeat(path.len() - kept.len())
}
