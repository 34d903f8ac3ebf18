//! Handsets that speak TLS 1.0: by the configurations that the README shows, with the programs they are for,
//! and OpenSSL as the handset.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    pki::{Authority, days},
    rig::{PATIENCE, Rig, Upstream, message, oracle, post, site},
};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/old-handsets");
const TRUSTING: &str = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n";

/// The handset's address. What connects to protover comes from another one.
const HANDSET: &str = "127.0.0.7";

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap()
}

/// A program that stands in front, and where it listens.
struct Terminator {
    child: Child,
    address: SocketAddr,
}

impl Drop for Terminator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Terminator {
    /// Starts a program with an example, in which addresses and certificate are those of the test.
    fn start(home: &Path, program: &str, arguments: &[&str], text: &str, towards: SocketAddr, certificate: &Path) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut text = text.to_owned();
        let certificate = certificate.display().to_string();
        let replaced = [
            ("0.0.0.0:443", address.to_string()),
            ("127.0.0.1:8082", towards.to_string()),
            ("/etc/haproxy/dm.pem", certificate.clone()),
            ("/etc/stunnel/dm.pem", certificate),
        ];
        for (written, here) in replaced {
            text = text.replace(written, &here);
        }
        let file = home.join(format!("{program}.conf"));
        fs::write(&file, text).unwrap();
        let said = fs::File::create(home.join("terminator.log")).unwrap();
        let mut child =
            Command::new(program).args(arguments).arg(&file).stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().unwrap();
            let said = fs::read_to_string(home.join("terminator.log")).unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{program}: {said}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Self { child, address }
    }
}

/// What OpenSSL says when it sends a message in a version of TLS.
async fn handset(address: SocketAddr, version: &'static str) -> String {
    let request = post("Connection: close\r\n", message("1.2", "DM/1.2").as_bytes());
    let ask = move || {
        let mut client = Command::new("openssl")
            .args(["s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-ign_eof", "-servername", "dm.example"])
            .args(["-bind", &format!("{HANDSET}:0"), "-connect", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = client.stdin.take().unwrap().write_all(&request);
        String::from_utf8_lossy(&client.wait_with_output().unwrap().stdout).into_owned()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// A certificate with its key behind it, as both programs want it.
fn bundle(home: &Path) -> PathBuf {
    let (certificate, key) = Authority::new(home, "authority").issue("dm", 1, &["dm.example"], days(90));
    let bundle = home.join("dm-bundle.pem");
    fs::write(&bundle, [fs::read(certificate).unwrap(), fs::read(key).unwrap()].concat()).unwrap();
    bundle
}

async fn every_version_arrives(program: &str, arguments: &[&str], text: &str, scheme: &str) {
    let home = tempfile::tempdir().unwrap();
    let upstream = Upstream::echoing().await;
    let rig = Rig::with_listener(TRUSTING, "", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let front = Terminator::start(home.path(), program, arguments, text, rig.address(), &bundle(home.path()));
    let versions = [("-tls1", "TLSv1"), ("-tls1_1", "TLSv1.1"), ("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];
    for (number, (version, name)) in versions.into_iter().enumerate() {
        let said = handset(front.address, version).await;
        assert!(said.contains(&format!("New, {name}, Cipher")) || said.contains(&format!("Protocol  : {name}\n")), "{said}");
        assert!(said.contains("HTTP/1.1 200 OK") && said.contains("</SyncML>"), "{version}: {said}");
        let lines = rig.lines(number + 1).await;
        let peer = lines[number]["peer"].as_str().unwrap().to_owned();
        assert!(peer.starts_with(&format!("{HANDSET}:")), "{version}: {peer}");
        assert_eq!(lines[number]["verdict"], "pass");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(seen.header("x-forwarded-for"), Some(HANDSET));
        assert_eq!(seen.header("x-forwarded-proto"), Some(scheme));
        assert_eq!(seen.header("forwarded"), Some(&*format!("for={HANDSET};host=\"dm.example\";proto={scheme}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_handsets_come_through_haproxy() {
    if !oracle("haproxy") || !oracle("openssl") {
        return;
    }
    let text = example("haproxy.cfg");
    every_version_arrives("haproxy", &["-db", "-f"], &text, "https").await;
    // Version 1 has no word for TLS.
    let first = text.replace("send-proxy-v2-ssl", "send-proxy");
    every_version_arrives("haproxy", &["-db", "-f"], &first, "http").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_handsets_come_through_stunnel() {
    if !oracle("stunnel4") || !oracle("openssl") {
        return;
    }
    every_version_arrives("stunnel4", &[], &example("stunnel.conf"), "http").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_them_tls_1_0_is_a_failed_handshake_as_openssl_tries_it() {
    if !oracle("openssl") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::new(home.path(), "authority").issue("dm", 1, &["dm.example"], days(90));
    let upstream = Upstream::echoing().await;
    let listener = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    let rig = Rig::with_listener(&listener, "", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let said = handset(rig.address(), "-tls1").await;
    assert!(!said.contains("HTTP/1.1"), "{said}");
    assert_eq!(rig.line().await["reason"], "tls-handshake");
}

#[test]
fn the_readme_shows_what_is_tested() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(&example("haproxy.cfg")), "the README does not show examples/old-handsets/haproxy.cfg");
    assert!(readme.contains("examples/old-handsets/stunnel.conf"));
}
