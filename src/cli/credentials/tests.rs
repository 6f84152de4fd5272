use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::cli::chain;

struct Place {
    dir: tempfile::TempDir,
    given: Given,
    environment: Environment,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let given = Given { host: "h.example".into(), ..Given::default() };
        let environment = Environment { home: Some(dir.path().into()), ..Environment::default() };
        Place { dir, given, environment }
    }

    fn write(&self, name: &str, text: &[u8], mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn user(mut self, user: &str) -> Place {
        self.given.user = Some(user.into());
        self
    }

    fn file(mut self, text: &[u8], mode: u32) -> Place {
        self.given.file = Some(self.write("credentials", text, mode));
        self
    }

    fn resolve(&self) -> Result<Login, CredentialsError> {
        resolve(self.given.clone(), &self.environment)
    }

    fn login(&self) -> (String, String) {
        let login = self.resolve().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&login.user), text(login.password.expose()))
    }
}

fn pair(user: &str, password: &str) -> (String, String) {
    (user.into(), password.into())
}

#[test]
fn nobody_named_means_anonymous() {
    assert_eq!(Place::new().login(), pair("anonymous", "ftpfs@"));
    assert_eq!(Place::new().user("ftp").login(), pair("ftp", "ftpfs@"));
    let mut place = Place::new();
    place.environment.password = Some(Secret::new("stray"));
    assert_eq!(place.login(), pair("anonymous", "ftpfs@"));
}

#[test]
fn each_place_answers_only_what_the_earlier_ones_left_open() {
    let mut place = Place::new().user("u");
    place.write(".netrc", b"machine h.example login u password from-netrc", 0o600);
    assert_eq!(place.login(), pair("u", "from-netrc"));

    fs::write(place.dir.path().join("ftpfs.password"), "from-systemd\n").unwrap();
    place.environment.credentials_directory = Some(place.dir.path().into());
    assert_eq!(place.login(), pair("u", "from-systemd"));

    place.environment.password = Some(Secret::new("from-env"));
    assert_eq!(place.login(), pair("u", "from-env"));

    place = place.file(b"username=u\npassword=from-file\n", 0o600);
    assert_eq!(place.login(), pair("u", "from-file"));

    place.given.password = Some(Secret::new("from-url"));
    assert_eq!(place.login(), pair("u", "from-url"));
}

#[test]
fn a_password_of_somebody_else_is_not_used() {
    let mut place = Place::new().user("u");
    place.environment.user = Some("other".into());
    place.environment.password = Some(Secret::new("x"));
    place.write(".netrc", b"machine h.example login other password x", 0o600);
    assert!(matches!(place.resolve(), Err(CredentialsError::NoPassword { .. })));
    let place = Place::new().user("u").file(b"username=other\npassword=x", 0o600);
    assert!(matches!(place.resolve(), Err(CredentialsError::OtherUser { .. })));
}

#[test]
fn values_of_the_file_are_verbatim() {
    let place = Place::new().file(
        b"# comment\r\n\r\n  username=Jo Do\r\npassword= a,b \\ =\"c\" \naccount=x y\ndomain=d\n",
        0o600,
    );
    assert_eq!(place.login(), pair("Jo Do", " a,b \\ =\"c\" "));
    assert_eq!(place.resolve().unwrap().account, Some(Secret::new("x y")));
    let place = Place::new().file(b"username=\xff\npassword=\xfe", 0o400);
    assert_eq!(place.resolve().unwrap().password.expose(), b"\xfe");
}

#[test]
fn a_bad_line_is_named_and_not_shown() {
    for text in ["username=u\n\nhunter2\n", "username=u\n\nhunter2=x\n"] {
        let text = Place::new().file(text.as_bytes(), 0o600).resolve().unwrap_err().to_string();
        assert!(text.contains("line 3") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn files_with_passwords_that_others_can_use_are_refused() {
    for mode in [0o640, 0o604, 0o620, 0o644] {
        let error = Place::new().file(b"username=u\npassword=p", mode).resolve().unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{mode:o} {error}");
        let place = Place::new().user("u");
        place.write(".netrc", b"machine h.example password p", mode);
        assert!(matches!(place.resolve(), Err(CredentialsError::Exposed { .. })), "{mode:o}");
    }
    let place = Place::new();
    place.write(".netrc", b"machine elsewhere login a password b", 0o644);
    assert_eq!(place.login(), pair("anonymous", "ftpfs@"));
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let mut place = Place::new().user("u");
    place.given.netrc = Netrc::File(place.dir.path().join("none"));
    assert!(matches!(place.resolve(), Err(CredentialsError::File { .. })));
    place.given.file = Some(place.dir.path().into());
    assert!(chain(&place.resolve().unwrap_err()).contains("not a regular file"));
    let place = Place::new().file(&[b'#'; FILE_MAX as usize + 1], 0o600);
    assert!(chain(&place.resolve().unwrap_err()).contains("64 KiB"));
}

#[test]
fn netrc_can_name_the_user_and_can_be_switched_off() {
    let mut place = Place::new();
    place.write(".netrc", b"machine h.example login n password p account a", 0o600);
    assert_eq!(place.login(), pair("n", "p"));
    assert_eq!(place.resolve().unwrap().account, Some(Secret::new("a")));
    place.given.netrc = Netrc::Off;
    assert_eq!(place.login(), pair("anonymous", "ftpfs@"));
}

#[test]
fn nothing_that_ends_a_command_is_sent() {
    let place = Place::new();
    place.write(".netrc", b"machine h.example login n password \"p\\nDELE x\"", 0o600);
    assert!(matches!(place.resolve(), Err(CredentialsError::Forbidden("password"))));
    let place = Place::new().user("a\rb");
    let mut given = place.given.clone();
    given.password = Some(Secret::new("p"));
    assert!(matches!(resolve(given, &place.environment), Err(CredentialsError::Forbidden("user"))));
}

#[test]
fn a_missing_password_lists_the_ways() {
    let text = Place::new().user("u").resolve().unwrap_err().to_string();
    for way in ["credentials=", ".netrc", "FTPFS_PASSWORD", "terminal"] {
        assert!(text.contains(way), "{text}");
    }
}
