//! How the server departs from what a writer hopes for. The default is a good server: it appends, restarts
//! uploads, replaces by RNTO, and sets times and modes.

use std::time::Duration;

/// The switches of everything that changes the tree.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    /// APPE exists.
    pub(crate) appe: bool,
    /// REST before STOR.
    pub(crate) rest_stor: RestStor,
    /// SIZE exists.
    pub(crate) size: bool,
    /// RNTO replaces an existing file, else 550.
    pub(crate) rnto_replaces: bool,
    /// After RNFR everything but RNTO and NOOP is a 501 (ProFTPD 1.3.8).
    pub(crate) rnfr_insists: bool,
    /// What MKD answers when it made the directory; 257 with the path by default.
    pub(crate) mkd_done: Option<&'static str>,
    /// What MKD answers when the name exists.
    pub(crate) mkd_exists: &'static str,
    /// MFMT, also in FEAT.
    pub(crate) mfmt: Setting,
    /// `SITE CHMOD`.
    pub(crate) chmod: Setting,
    /// `SITE UTIME`.
    pub(crate) utime: Setting,
    /// MFF of times and modes, also in FEAT.
    pub(crate) mff: Setting,
    /// `SITE CHGRP`. Where a group can be set, MLST tells it.
    pub(crate) chgrp: Setting,
    /// `MFF UNIX.group`, also in FEAT.
    pub(crate) mff_group: Setting,
    /// `SITE UTIME path atime mtime ctime UTC` is the form that is known, not the other one.
    pub(crate) utime_of_three: bool,
    /// What MFMT says when it has set a time.
    pub(crate) mfmt_done: Option<&'static str>,
    /// STOR without ALLO before it is refused.
    pub(crate) allo: bool,
    /// STOR over an existing file is refused.
    pub(crate) write_once: bool,
    /// An upload of no bytes makes no file.
    pub(crate) drops_empty: bool,
    /// Uploads get `.1` behind their name.
    pub(crate) renames_uploads: bool,
    /// `MDTM time path` sets (vsftpd 3.0.3).
    pub(crate) mdtm_sets: bool,
    /// `SITE SYMLINK` exists.
    pub(crate) symlink: bool,
    /// STOR and APPE are answered so.
    pub(crate) refuses: Option<RefusedUpload>,
    /// Every command that would change something is answered so.
    pub(crate) denied: Option<&'static str>,
    /// Bytes that all files together may have, and what is said when an upload wants more.
    pub(crate) room: Option<(usize, &'static str)>,
    /// Uploads that break.
    pub(crate) fault: Option<UploadFault>,
    /// Files are kept this many bytes shorter than what came, and 226 is said.
    pub(crate) short_by: usize,
    /// 226 is said before the data is read.
    pub(crate) early: Option<Early>,
    /// Commands that came with STOR are answered before its end, and EPSV among them ends it without a word
    /// (pyftpdlib 2.2.0).
    pub(crate) out_of_turn: bool,
    /// Commands that came with STOR are thrown away.
    pub(crate) drops_behind: bool,
    /// Pause between the last byte and the 226.
    pub(crate) late_final: Option<Duration>,
    /// Pause after each 64 KiB that is read.
    pub(crate) slow: Option<Duration>,
    /// Blanks at the end of a name and control characters become `_`, and success is said (Pure-FTPd 1.0.50).
    pub(crate) tidies_names: bool,
    /// Cuts a control connection, counted over all of them.
    pub(crate) reply_cut: Option<ReplyCut>,
    /// STOR writes into a file of another name, which gets the right one at the end (ProFTPD 1.3.8 with
    /// HiddenStores).
    pub(crate) beside: bool,
    /// What DELE is answered with.
    pub(crate) keeps: Option<&'static str>,
    /// Pause before DELE, and between RNTO and its reply.
    pub(crate) slow_names: Option<Duration>,
    /// Pause before MLST is answered.
    pub(crate) slow_facts: Option<Duration>,
}

impl Default for Writing {
    fn default() -> Writing {
        Writing {
            appe: true,
            rest_stor: RestStor::KeepsTail,
            size: true,
            rnto_replaces: true,
            rnfr_insists: false,
            mkd_done: None,
            mkd_exists: "550 File exists",
            mfmt: Setting::Works,
            chmod: Setting::Works,
            utime: Setting::Works,
            mff: Setting::Unknown,
            chgrp: Setting::Unknown,
            mff_group: Setting::Unknown,
            utime_of_three: false,
            mfmt_done: None,
            allo: false,
            write_once: false,
            drops_empty: false,
            renames_uploads: false,
            mdtm_sets: false,
            symlink: true,
            refuses: None,
            denied: None,
            room: None,
            fault: None,
            short_by: 0,
            early: None,
            out_of_turn: false,
            drops_behind: false,
            late_final: None,
            slow: None,
            tidies_names: false,
            reply_cut: None,
            beside: false,
            keeps: None,
            slow_names: None,
            slow_facts: None,
        }
    }
}

impl Writing {
    /// Whether MLST tells groups.
    pub(crate) fn tells_groups(&self) -> bool {
        (self.chgrp, self.mff_group) != (Setting::Unknown, Setting::Unknown)
    }

    /// A server that knows no SITE and no MFMT, and whose MDTM only tells.
    pub(crate) fn without_settings() -> Writing {
        let (mfmt, chmod, utime) = (Setting::Unknown, Setting::Unknown, Setting::Unknown);
        Writing { mfmt, chmod, utime, symlink: false, ..Writing::default() }
    }
}

/// What becomes of the file behind the bytes of `REST n` + STOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestStor {
    /// vsftpd 3.0.3, ProFTPD 1.3.8, pyftpdlib 2.2.0.
    KeepsTail,
    /// Pure-FTPd 1.0.50.
    CutsTail,
    /// 501.
    Refused,
}

/// A command that sets an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Works,
    /// 500.
    Unknown,
    /// 550.
    Refused,
    /// Success is said, and nothing done.
    Lies,
    /// Times are taken for local ones, so many seconds east of UTC.
    Local(i64),
}

/// An upload that is not taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusedUpload {
    pub(crate) reply: &'static str,
    /// After all of the data instead of the 150; nothing of it is kept.
    pub(crate) after_data: bool,
}

/// The next `times` uploads that come so far break there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadFault {
    pub(crate) at: FaultAt,
    pub(crate) end: FaultEnd,
    pub(crate) times: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultAt {
    /// When this many bytes have come.
    Byte(usize),
    /// When the client has ended the data.
    End,
}

/// How an upload breaks. What came until then is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultEnd {
    /// Reset, and 426.
    Says426,
    /// Reset, and no reply; the control connection stays open and silent.
    NoReply,
    /// Reset, and 226 (pyftpdlib 2.2.0 when the client resets).
    Lies226,
    /// Reset, and the control connection closed.
    ControlToo,
    /// Nothing is read and nothing said any more, nothing is closed.
    Stalls,
}

/// What becomes of the data behind an early 226.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    Kept,
    /// The data connection is reset.
    Lost,
}

/// Cuts the control connection that sends the `after`-th reply from now on, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyCut {
    pub(crate) after: usize,
    /// The command is obeyed, but its reply not sent.
    pub(crate) lost: bool,
    /// From then on, no connection gets a reply.
    pub(crate) for_ever: bool,
}
