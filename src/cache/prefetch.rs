//! How much is fetched that nobody has asked for.

/// What may be fetched ahead: of a file that is read, of the files that come next, of the directories of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefetch {
    /// What is asked for, and nothing else.
    Off,
    /// What a reader has shown that he will want.
    #[default]
    Auto,
    /// All that may come next, from the first file or directory on, however often the guess was wrong.
    Eager,
}
