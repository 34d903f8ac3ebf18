//! The certificates of listeners: by name, as their files change, and when they end.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use protover::server::tls;
use rustls::ALL_VERSIONS;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    life::Served,
    mtls::{connect, shown},
    pki::{Authority, client, days},
    rig::{Answer, Rig, Upstream, message, ok, oracle, policies, post, site},
};

#[tokio::test]
async fn the_name_that_is_asked_for_picks_the_certificate() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let first = ours.issue("first", 1, &["localhost", "dm.example"], days(90));
    let wild = ours.issue("wild", 2, &["*.it.example"], days(90));
    let exact = ours.issue("exact", 3, &["DM.Operator.example"], days(90));
    let more =
        [&wild, &exact].map(|(certificate, key)| format!("{{ certificate = {}, key = {} }}", shown(certificate), shown(key)));
    let listener =
        format!("tls = {{ certificate = {}, key = {}, certificates = [{}] }}", shown(&first.0), shown(&first.1), more.join(", "));
    let upstream = Upstream::echoing().await;
    let rig = Rig::with_listener(&listener, "", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    for (host, certificate) in [
        ("dm.example", Some(&first)),
        ("a.it.example", Some(&wild)),
        ("A.IT.example", Some(&wild)),
        ("dm.operator.example", Some(&exact)),
        // These get the first one, and do not believe it.
        ("a.b.it.example", None),
        ("it.example", None),
    ] {
        let stream = connect(rig.address(), client(&ours.pem, None, ALL_VERSIONS), host).await;
        let got = stream.ok().map(|stream| stream.get_ref().1.peer_certificates().unwrap()[0].clone());
        assert_eq!(got, certificate.map(|(certificate, _)| tls::certificates(certificate).unwrap().remove(0)), "{host}");
    }
    rig.lines(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_verifies_rsa_only_gets_the_rsa_certificate_as_openssl_sees_it() {
    if !oracle("openssl") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let curve = ours.issue("curve", 1, &["dm.example"], days(90));
    let (certificate, key) = (home.path().join("rsa.pem"), home.path().join("rsa.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=rsa"])
        .args(["-addext", "subjectAltName=DNS:dm.example", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let listener = format!(
        "tls = {{ certificates = [{{ certificate = {}, key = {} }}, {{ certificate = {}, key = {} }}] }}",
        shown(&curve.0),
        shown(&curve.1),
        shown(&certificate),
        shown(&key)
    );
    let upstream = Upstream::echoing().await;
    let rig = Rig::with_listener(&listener, "", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    for (algorithms, subject) in [("ECDSA+SHA256:RSA+SHA256", "CN = curve"), ("RSA+SHA256", "CN = rsa")] {
        let address = rig.address().to_string();
        let client = tokio::task::spawn_blocking(move || {
            Command::new("openssl")
                .args(["s_client", "-tls1_2", "-servername", "dm.example", "-sigalgs", algorithms, "-connect", &address])
                .stdin(std::process::Stdio::null())
                .output()
        });
        let said = client.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&said.stdout);
        assert!(said.contains(&format!("subject={subject}")), "{algorithms}: {said}");
    }
}

/// A process with a listener over TLS.
fn serve(home: &Path, tls: &str, server: &str) -> Served {
    let folder = home.join("policies");
    fs::create_dir_all(&folder).unwrap();
    let log = home.join("decisions.log");
    let proxy =
        format!("[[listener]]\nname = \"devices\"\naddress = \"127.0.0.1:0\"\n{tls}\n[decisions]\nto = {}\n", shown(&log));
    fs::write(folder.join("proxy.toml"), proxy).unwrap();
    let site =
        format!("[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"u\"\nspeaks = [\"DM/1.2\"]\n{server}");
    fs::write(folder.join("site.toml"), site).unwrap();
    Served::start(&folder, &[])
}

/// Requests one after the other, until told to stop, each third on a new connection.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(address: SocketAddr, authority: &Path) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (stop, served, authority) = (Arc::clone(&stop), Arc::clone(&served), authority.to_owned());
            clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = connect(address, client(&authority, None, ALL_VERSIONS), "localhost").await.unwrap();
                    for _ in 0..3 {
                        stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
                        assert_eq!(Answer::read(&mut stream).await.status, 200);
                        served.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            });
        }
        Self { stop, served, clients }
    }

    async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.clients.join_next().await {
            done.unwrap();
        }
        self.served.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_exchanged_under_load_without_a_failed_request() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    // As certbot has it: links to files that are never changed.
    let live = [home.path().join("live.pem"), home.path().join("live.key")];
    let lead = |to: &(PathBuf, PathBuf)| {
        for (link, file) in live.iter().zip([&to.0, &to.1]) {
            let aside = link.with_extension("aside");
            std::os::unix::fs::symlink(file, &aside).unwrap();
            fs::rename(aside, link).unwrap();
        }
    };
    let [old, new, last] = [1, 2, 3].map(|serial| ours.issue(&format!("s{serial}"), serial, &["localhost"], days(90)));
    lead(&old);
    let upstream = Upstream::echoing().await;
    let tls = format!("tls = {{ certificate = {}, key = {} }}", shown(&live[0]), shown(&live[1]));
    let served = serve(home.path(), &tls, &format!("url = \"http://{}\"\n", upstream.address));
    let shows = async || {
        let stream = connect(served.address, client(&ours.pem, None, ALL_VERSIONS), "localhost").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let leaf = |files: &(PathBuf, PathBuf)| tls::certificates(&files.0).unwrap().remove(0);
    let mut kept = connect(served.address, client(&ours.pem, None, ALL_VERSIONS), "localhost").await.unwrap();
    let load = Load::start(served.address, &ours.pem);
    assert_eq!(shows().await, leaf(&old));

    lead(&new);
    served.says("policies reloaded");
    assert_eq!(shows().await, leaf(&new));

    // Half of it, and a key that is not its own: both keep what was there.
    let there = leaf(&new);
    let whole = fs::read(&last.0).unwrap();
    fs::write(&new.0, &whole[..whole.len() / 2]).unwrap();
    let said = served.says("not reloaded");
    assert!(said.contains("live.pem"), "{said}");
    assert_eq!(shows().await, there);
    fs::write(&new.0, &whole).unwrap();
    let said = served.says("live.key");
    assert!(said.contains("not reloaded") && said.contains("live.pem"), "{said}");
    assert_eq!(shows().await, there);

    fs::copy(&last.1, &new.1).unwrap();
    served.says("policies reloaded");
    assert_eq!(shows().await, leaf(&last));

    let count = load.end().await;
    assert!(count > 50, "only {count} requests");
    // A connection outlives them all.
    kept.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
    assert_eq!(Answer::read(&mut kept).await.status, 200);
    drop(served);
    let lines = fs::read_to_string(home.path().join("decisions.log")).unwrap();
    let failed: Vec<&str> = lines.lines().filter(|line| !line.contains("\"http_status\":200")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_trusted_by_the_authorities_that_its_file_holds_now() {
    let home = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "other"));
    let server = ours.issue("server", 1, &["localhost"], days(90));
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(tls::certificates(&server.0).unwrap(), tls::key(&server.1).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move {
                let mut buffer = [0; 64 * 1024];
                while tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await.unwrap_or(0) > 0 {
                    stream.write_all(&ok("text/plain", b"trusted")).await.unwrap();
                }
            });
        }
    });
    let ca = home.path().join("ca.pem");
    fs::copy(&other.pem, &ca).unwrap();
    let served = serve(home.path(), "", &format!("url = \"https://localhost:{port}\"\nca = {}\n", shown(&ca)));
    let ask = async || {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
        Answer::read(&mut stream).await.status
    };
    assert_eq!(ask().await, 502);
    fs::copy(&ours.pem, &ca).unwrap();
    served.says("policies reloaded");
    assert_eq!(ask().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_soon_is_said_by_serve_and_check() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let server = ours.issue("server", 1, &["localhost"], days(6));
    let crl = ours.revoke(&[], days(-2));
    let tls = format!(
        "tls = {{ certificate = {}, key = {}, client_auth = \"optional\", client_ca = {}, client_crl = {} }}",
        shown(&server.0),
        shown(&server.1),
        shown(&ours.pem),
        shown(&crl)
    );
    let served = serve(home.path(), &tls, "url = \"http://127.0.0.1:1\"\n");
    for words in ["authority.crl: a newer revocation list was due", "server.pem: expires in 5 days"] {
        // Before it listens, or after: whichever of its tasks comes first.
        if !served.began.contains(words) {
            served.says(words);
        }
    }
    let check = || {
        let folder = home.path().join("policies");
        let checked = Command::new(env!("CARGO_BIN_EXE_protover")).args(["check", "--policies"]).arg(folder).output().unwrap();
        (checked.status.code(), String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap())
    };
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("The policies are valid: 2 warnings."), "{said}");
    assert!(said.contains("warning: listener devices: ") && said.contains("expires in 5 days"), "{said}");
    fs::write(&server.0, "nothing").unwrap();
    let (code, said) = check();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("listener devices: ") && said.contains("server.pem: holds no certificate"), "{said}");
}

#[tokio::test]
async fn the_soonest_end_can_be_read() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let server = ours.issue("server", 1, &["localhost"], days(6));
    let tls = format!("tls = {{ certificate = {}, key = {} }}", shown(&server.0), shown(&server.1));
    let text = site(crate::rig::nobody().await, "[\"DM/1.2\"]", "");
    let listeners = policies(&home.path().join("log"), &tls, "", &[&text]).settings.listeners;
    let expiries = protover::server::expiries(&listeners).unwrap();
    assert_eq!((expiries.len(), &*expiries[0].listener, expiries[0].expires.list), (1, "devices", false));
    let off = expiries[0].expires.at.duration_since(days(6)).unwrap_or_else(|error| error.duration());
    assert!(off < Duration::from_secs(60), "{off:?}");
}

#[test]
fn what_certs_init_makes_and_the_readme_shows_can_be_served() {
    let home = tempfile::tempdir().unwrap();
    crate::tls::certificates(home.path());
    for (made, named) in [("upstream.pem", "it.pem"), ("upstream.key", "it.key")] {
        fs::copy(home.path().join("certs").join(made), home.path().join("certs").join(named)).unwrap();
    }
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme.split_once("\n## TLS\n").unwrap().1;
    let example = section.split("```").nth(1).unwrap().strip_prefix("toml\n").unwrap();
    let folder = home.path().join("policies");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("proxy.toml"), example).unwrap();
    fs::write(folder.join("site.toml"), site("127.0.0.1:1".parse().unwrap(), "[\"DM/1.2\"]", "")).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_protover")).args(["check", "--policies"]).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_old_or_weak_is_spoken_as_sslscan_sees_it() {
    if !oracle("sslscan") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let server = Authority::new(home.path(), "authority").issue("server", 1, &["localhost"], days(90));
    let tls = format!("tls = {{ certificate = {}, key = {} }}", shown(&server.0), shown(&server.1));
    let served = serve(home.path(), &tls, "url = \"http://127.0.0.1:1\"\n");
    let address = served.address.to_string();
    let scan = move || Command::new("sslscan").args(["--no-colour", &address]).output();
    let scanned = tokio::task::spawn_blocking(scan).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&scanned.stdout);
    let words: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    for (version, expected) in [
        ("SSLv2", "disabled"),
        ("SSLv3", "disabled"),
        ("TLSv1.0", "disabled"),
        ("TLSv1.1", "disabled"),
        ("TLSv1.2", "enabled"),
        ("TLSv1.3", "enabled"),
    ] {
        assert!(words.contains(&vec![version, expected]), "{version} is not {expected}: {said}");
    }
    let ciphers: Vec<&Vec<&str>> = words.iter().filter(|line| line.len() > 4 && line[3] == "bits").collect();
    assert!(ciphers.len() > 4, "{said}");
    for cipher in ciphers {
        let forward = cipher[4].starts_with("TLS_") || cipher[4].starts_with("ECDHE-");
        let sealed = cipher[4].contains("GCM") || cipher[4].contains("POLY1305");
        assert!(cipher[2].parse::<u32>().unwrap() >= 128 && forward && sealed, "{cipher:?}");
    }
    assert!(
        !said.contains(" vulnerable") || said.matches(" vulnerable").count() == said.matches("not vulnerable").count(),
        "{said}"
    );
}
