//! Where symbolic links may point. A server's link target is input from outside: unless the user says
//! otherwise, following one cannot leave the mount.

use crate::remote::RemotePath;
use crate::vfs::Error;

/// What to do with the server's symbolic links (`links=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkPolicy {
    /// Targets are rewritten to relative paths inside the mount; one that leaves it gives EACCES.
    #[default]
    Contain,
    /// Targets are shown as the server prints them, and then mean files of this machine.
    Raw,
    /// Links are not shown.
    Hide,
}

/// Longest target that readlink(2) can give, in bytes (PATH_MAX without its NUL).
const TARGET_MAX: usize = 4095;

/// The target that the link in directory `dir` of the server shall show in a mount of `base`.
///
/// The target is resolved by its text alone, in the server's paths: an absolute one from the server's
/// root, a relative one from the link's directory. A further link on the way is met by the kernel in the
/// mount, where it is contained in turn.
///
/// # Errors
/// [`Error::LinkLeaves`]; [`Error::BadName`] where a component can be no name.
pub(super) fn contained(target: &[u8], dir: &RemotePath, base: &RemotePath) -> Result<Vec<u8>, Error> {
    let path = dir.resolve(target)?;
    let rest = path.below(base).ok_or(Error::LinkLeaves)?;
    let inside = dir.below(base).ok_or(Error::LinkLeaves)?;
    let depth = if inside.is_empty() { 0 } else { inside.split(|&b| b == b'/').count() };
    if stays_as_it_is(target, depth) {
        return raw(target);
    }
    // ProFTPD 1.3.8 makes every target absolute; what the link's directory and the target have in common is
    // left out again.
    let parts = |path: &[u8]| -> Vec<Vec<u8>> {
        path.split(|&b| b == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
    };
    let (here, there) = (parts(inside), parts(rest));
    let common = here.iter().zip(&there).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(b"..".to_vec(), here.len() - common);
    let mut shown = up.chain(there.into_iter().skip(common)).collect::<Vec<_>>().join(&b'/');
    if shown.is_empty() {
        shown.push(b'.');
    }
    if shown.len() > TARGET_MAX {
        return Err(Error::LinkLeaves);
    }
    Ok(shown)
}

/// Whether the kernel, too, stays inside the mount when it follows `target` from a directory `depth` levels
/// deep: it goes up at the start only, and not too far. Behind a name, which may be a link itself, `..` can
/// lead higher than its text says.
fn stays_as_it_is(target: &[u8], depth: usize) -> bool {
    let is_up = |component: &&[u8]| *component == b"..";
    let components = || target.split(|&b| b == b'/').filter(|c| !matches!(*c, b"" | b"."));
    let up = components().take_while(is_up).count();
    target.first().is_some_and(|&first| first != b'/')
        && up <= depth
        && !components().skip(up).any(|c| is_up(&c))
}

/// A target as it is, if the kernel can take it.
///
/// # Errors
/// [`Error::NoTarget`] for one that is empty, holds a NUL or is too long.
pub(super) fn raw(target: &[u8]) -> Result<Vec<u8>, Error> {
    if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
        return Err(Error::NoTarget);
    }
    Ok(target.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_in_the_mount_or_are_refused() {
        let leaves = None;
        for (base, dir, target, shown) in [
            ("/", "/", "file", Some("file")),
            ("/", "/a/b", "file", Some("file")),
            ("/", "/a/b", "./x//y/", Some("./x//y/")),
            ("/", "/a/b", "../c", Some("../c")),
            ("/", "/a/b", "../../c", Some("../../c")),
            ("/", "/a/b", "x/../../c", Some("../c")),
            ("/", "/a/b", "/a/b/c", Some("c")),
            ("/", "/a/b", "/a/b", Some(".")),
            ("/", "/a/b", "/a", Some("..")),
            ("/", "/a/b", "../x/../../c", Some("../../c")),
            ("/", "/a/b", "/etc/passwd", Some("../../etc/passwd")),
            ("/", "/a", "../../../../etc", Some("../etc")),
            ("/", "/", "/", Some(".")),
            ("/", "/a/b", "/", Some("../..")),
            ("/home/lena", "/home/lena", "x", Some("x")),
            ("/home/lena", "/home/lena/d", "/home/lena/x", Some("../x")),
            ("/home/lena", "/home/lena/d", "..", Some("..")),
            ("/home/lena", "/home/lena/d", "../../karl", leaves),
            ("/home/lena", "/home/lena/d", "/etc/passwd", leaves),
            ("/home/lena", "/home/lena/d", "/home/lenard", leaves),
            ("/home/lena", "/home/lena", "..", leaves),
            ("/home/lena", "/home/lena/d", "../../lena/x", Some("../x")),
        ] {
            let path = |text: &str| RemotePath::parse(text.as_bytes()).unwrap();
            let result = contained(target.as_bytes(), &path(dir), &path(base)).ok();
            let result = result.map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(result.as_deref(), shown, "{target} in {dir} of {base}");
        }
    }

    #[test]
    fn targets_the_kernel_cannot_take_are_refused() {
        let root = RemotePath::root();
        for bad in [&b"a\0b"[..], b"a\nb", &[b'x'; 256], &b"abcdefgh/".repeat(500)] {
            assert!(contained(bad, &root, &root).is_err());
        }
        for bad in [&b""[..], b"a\0b", &[b'x'; 4096]] {
            assert!(raw(bad).is_err());
        }
        assert_eq!(raw(b"/etc/passwd").unwrap(), b"/etc/passwd");
    }
}
