//! The marks of `ls -F` behind names: `*` for what can be executed, `=` for sockets, `|` for pipes.
//!
//! A `*` may be part of a name. So marks are taken off only where everything that would have one has it: then
//! the server lists with `-F`.

use super::{EntryKind, RemoteEntry};

/// How many lines had a mark, of those that would have one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    with: usize,
    without: usize,
}

impl Marks {
    /// Counts a line; `None` for one that says nothing about marks.
    pub(super) fn count(&mut self, marked: Option<bool>) {
        self.with += usize::from(marked == Some(true));
        self.without += usize::from(marked == Some(false));
    }

    /// Takes the marks off, where there are any.
    pub(super) fn remove(self, entries: &mut [RemoteEntry]) {
        if self.with == 0 || self.without > 0 {
            return;
        }
        for entry in entries {
            let marks: &[u8] = match entry.kind {
                EntryKind::File if entry.mode.is_some_and(|mode| mode & 0o111 != 0) => b"*",
                EntryKind::Special => b"=|>",
                EntryKind::File | EntryKind::Directory => b"",
                // A link's mark is behind its target, and that of the target's kind.
                EntryKind::Symlink => {
                    if let Some(target) = &mut entry.link_target {
                        strip(target, b"*/=|>");
                    }
                    b""
                }
            };
            strip(&mut entry.name, marks);
        }
    }
}

fn strip(text: &mut Box<[u8]>, marks: &[u8]) {
    if let [rest @ .., last] = &**text
        && !rest.is_empty()
        && marks.contains(last)
    {
        *text = rest.into();
    }
}
