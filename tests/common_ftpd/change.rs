//! Commands that change the tree, uploads apart.

use super::connection::{Connection, Step};
use super::quirks::Quirks;
use super::tree::{join, seconds};
use super::writing::Setting;

/// All that change something; two-argument MDTM is the one that cannot be told by its verb.
const CHANGES: [&str; 11] =
    ["STOR", "APPE", "DELE", "MKD", "XMKD", "RMD", "XRMD", "RNFR", "RNTO", "MFMT", "SITE"];

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
        let mut path = join(cwd, argument);
        if writing.tidies_names && ["STOR", "APPE", "MKD", "RNTO"].contains(&verb) {
            path = tidy(&path);
        }
        Some(match verb {
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
            "UTIME" => self.set_time(quirks.writing.utime, rest, cwd),
            "SYMLINK" if quirks.writing.symlink => {
                let Some((target, path)) = rest.split_once(' ') else { return self.reply("501 Two paths") };
                let path = join(cwd, path);
                self.done(|tree| tree.make_link(target, &path), "200 Linked")
            }
            _ => self.reply("500 Unknown SITE command"),
        }
    }

    fn set_time(&mut self, setting: Setting, argument: &str, cwd: &str) -> Step {
        let Some((time, path)) = time_and_path(argument) else { return self.reply("501 Bad time") };
        let path = join(cwd, path);
        self.set_with(setting, |tree| tree.set_time(&path, time), &format!("213 Modify={argument}"))
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
            Setting::Works => self.done(set, text),
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

fn tidy(path: &str) -> String {
    let kept = path.trim_end_matches(' ');
    let cleaned: String = kept.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    cleaned + &"_".repeat(path.len() - kept.len())
}
