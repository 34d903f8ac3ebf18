use std::{fs, path::Path, time::Duration};

use super::*;

const PROXY: &str =
    "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"certs/c.pem\", key = \"/k.pem\" }\n";
const SITE: &str = "[site]\nname = \"a\"\nhosts = [\"*\"]\n[[server]]\nname = \"s\"\nurl = \"https://a\"\nspeaks = [\"1.2\"]\nca = \"certs/ca.pem\"\n";

fn folder(files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("policies");
    fs::create_dir(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    (dir, folder)
}

#[test]
fn paths_are_meant_from_the_folder_that_holds_the_policies() {
    let files = [("proxy.toml", PROXY.as_bytes()), ("a.toml", SITE.as_bytes()), (".b.toml", b"x"), ("notes.txt", b"x")];
    let (dir, folder) = folder(&files);
    let (policies, warnings) = load(&folder).unwrap();
    assert!(warnings.is_empty());
    let tls = policies.settings.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].certificate, dir.path().join("certs/c.pem"));
    assert_eq!(tls.certificates[0].key, Path::new("/k.pem"));
    assert_eq!(policies.sites[0].servers[0].ca, Some(dir.path().join("certs/ca.pem")));
    assert_eq!(beside(Path::new("policies")), Path::new(""));
    assert_eq!(beside(Path::new(".")), Path::new("./.."));
}

#[test]
fn a_folder_that_cannot_be_read_says_why() {
    let missing = load(Path::new("no/such/folder")).unwrap_err().render(false);
    assert!(missing.contains("no/such/folder") && missing.contains("No such file"), "{missing}");
    let (_dir, folder) = folder(&[("proxy.toml", b"# a\n\xff"), ("a.toml", &[b' '; 1 << 21])]);
    fs::create_dir(folder.join("b.toml")).unwrap();
    let broken = load(&folder).unwrap_err().render(false);
    for part in ["not UTF-8 (line 2)", "larger than 1 MiB", "not a file"] {
        assert!(broken.contains(part), "{broken}");
    }
}

#[test]
fn an_invalid_policy_shows_all_files() {
    let (_dir, folder) = folder(&[("proxy.toml", b"x = 1\n"), ("a.toml", b"y = 1\n")]);
    let error = load(&folder).unwrap_err().render(false);
    assert!(error.starts_with("the policies are invalid: 5 errors"), "{error}");
    assert!(error.contains("proxy.toml:1:1") && error.contains("a.toml:1:1"), "{error}");
}

#[test]
fn a_mark_in_front_is_no_mistake() {
    let (_dir, folder) = folder(&[("proxy.toml", PROXY.as_bytes()), ("a.toml", format!("\u{feff}{SITE}").as_bytes())]);
    load(&folder).unwrap();
}

#[test]
fn a_fingerprint_sees_every_change() {
    let (dir, folder) = folder(&[("proxy.toml", PROXY.as_bytes()), ("a.toml", SITE.as_bytes())]);
    let look = || Fingerprint::of(&folder);
    let mut before = look();
    assert_eq!(look(), before);
    let mut change = |what: &dyn Fn()| {
        what();
        let now = look();
        assert_ne!(now, before);
        assert_eq!(before.again(&folder), now);
        before = now;
    };
    change(&|| fs::write(folder.join("b.toml"), "x").unwrap());
    change(&|| fs::remove_file(folder.join("b.toml")).unwrap());
    change(&|| {
        let file = fs::File::open(folder.join("a.toml")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    });
    change(&|| {
        fs::create_dir(dir.path().join("certs")).unwrap();
        fs::write(dir.path().join("certs/ca.pem"), "x").unwrap();
    });
    fs::write(dir.path().join("certs/other.pem"), "x").unwrap();
    change(&|| fs::write(folder.join("a.toml"), SITE.replace("ca.pem", "other.pem")).unwrap());
    change(&|| fs::write(dir.path().join("certs/other.pem"), "yy").unwrap());
    change(&|| fs::write(folder.join("a.toml"), "no policy").unwrap());
    change(&|| fs::write(folder.join("a.toml"), SITE).unwrap());
    change(&|| fs::write(dir.path().join("certs/ca.pem"), "yy").unwrap());
}
