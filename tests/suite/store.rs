//! The shared store against a real Redis: what it keeps, how it logs in, and what happens when Redis is away.

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use protover::store::{self, Store, Unavailable};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    redis::RedisServer,
    rig::{self, oracle},
};

const LONG: Duration = Duration::from_secs(600);

/// The store of a `[store]` with kind = "redis" and these keys.
fn open(keys: &str) -> io::Result<Arc<dyn Store>> {
    let nobody = "127.0.0.1:9".parse().unwrap();
    let process = format!("[store]\nkind = \"redis\"\n{keys}");
    let policies = rig::policies("log".as_ref(), "", &process, &[&rig::site(nobody, "[\"DM/1.2\"]", "")]);
    store::open(&policies.settings.store)
}

/// The same, without TLS.
fn plain(server: &RedisServer, more: &str) -> Arc<dyn Store> {
    open(&format!("url = \"redis://127.0.0.1:{}/0\"\n{more}", server.port)).unwrap()
}

async fn get(store: &dyn Store, key: &str) -> Result<Option<String>, Unavailable> {
    Ok(store.get(key, None).await?.map(|value| String::from_utf8(value.to_vec()).unwrap()))
}

async fn put(store: &dyn Store, key: &str, value: &'static str, ttl: Duration) {
    store.put(key, Bytes::from_static(value.as_bytes()), ttl).await.unwrap();
}

/// How long the store takes to work again.
async fn back(store: &dyn Store) -> Duration {
    let began = Instant::now();
    while get(store, "key").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(15), "not back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

/// What is logged on this thread while it is held.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Logged {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

impl Logged {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let logged = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(logged.clone()).with_ansi(false).with_max_level(tracing::Level::TRACE);
        (logged, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The levels of protover's own lines.
    fn levels(&self) -> Vec<String> {
        let own = self.text().lines().filter(|line| line.contains("protover::store")).map(str::to_owned).collect::<Vec<_>>();
        own.iter().filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned)).collect()
    }
}

#[tokio::test]
async fn a_real_redis_keeps_values_under_the_prefix_for_their_time() {
    if !oracle("redis-server") {
        return;
    }
    let server = RedisServer::start(&[]).await;
    let store = plain(&server, "prefix = \"mine:\"\ntimeout = \"2s\"");
    assert_eq!((store.name(), get(&*store, "a").await), ("redis", Ok(None)));
    put(&*store, "a", "1", LONG).await;
    put(&*store, "a", "2", LONG).await;
    put(&*store, "b", "\0\r\nbytes", Duration::from_millis(150)).await;
    assert_eq!(get(&*store, "a").await, Ok(Some("2".into())));
    assert_eq!(get(&*store, "b").await, Ok(Some("\0\r\nbytes".into())));
    assert_eq!(server.ask("EXISTS mine:a mine:b a b").await, ":2");
    // Reading renews nothing unless it is asked to.
    let left = async || server.ask("PTTL mine:a").await[1..].parse::<u64>().unwrap();
    assert!((500_000..=600_000).contains(&left().await), "{}", left().await);
    store.get("a", Some(LONG * 10)).await.unwrap();
    assert!(left().await > 5_000_000, "{}", left().await);
    store.get("a", None).await.unwrap();
    assert!(left().await > 5_000_000, "{}", left().await);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((get(&*store, "b").await, store.get("b", Some(LONG)).await), (Ok(None), Ok(None)));
    for _ in 0..2 {
        store.remove("a").await.unwrap();
        assert_eq!(get(&*store, "a").await, Ok(None));
    }
    assert_eq!((server.ask("DBSIZE").await.as_str(), store.failures()), (":0", 0));
}

#[tokio::test]
async fn calls_to_a_real_redis_share_one_connection_and_do_not_wait_for_each_other() {
    if !oracle("redis-server") {
        return;
    }
    let server = RedisServer::start(&[]).await;
    let store = plain(&server, "timeout = \"5s\"");
    let one = |n: usize| {
        let store = Arc::clone(&store);
        async move {
            let key = n.to_string();
            store.put(&key, key.clone().into(), LONG).await.unwrap();
            assert_eq!(get(&*store, &key).await, Ok(Some(key)));
        }
    };
    futures_util::future::join_all((0..2000).map(one)).await;
    // Ours, and that of the one who asks.
    let clients = server.info("connected_clients").await;
    let received = server.info("total_connections_received").await;
    println!("connections {received}");
    assert_eq!(clients, "2");
    // Connections that are closed while they are idle are not missed.
    for _ in 0..3 {
        server.ask("CLIENT KILL TYPE normal SKIPME yes").await;
        assert_eq!(get(&*store, "7").await, Ok(Some("7".into())));
    }
    assert_eq!(store.failures(), 0);
}

#[tokio::test]
async fn a_real_redis_wants_the_password_of_the_file() {
    if !oracle("redis-server") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (file("right", "hush hush\n"), file("wrong", "loud\n"));
    let server = RedisServer::start(&["--requirepass", "hush hush"]).await;
    let (logged, _guard) = Logged::start();
    let with = |user: &str, password: &str| {
        let (port, password) = (server.port, format!("password_file = {password:?}"));
        open(&format!("url = \"redis://{user}127.0.0.1:{port}\"\ntimeout = \"2s\"\n{password}")).unwrap()
    };
    let store = with("", &right);
    put(&*store, "key", "value", LONG).await;
    assert_eq!(get(&*store, "key").await, Ok(Some("value".into())));
    for (user, password) in [("", &wrong), ("nobody@", &right), ("dm@", &wrong)] {
        let store = with(user, password);
        assert_eq!(get(&*store, "key").await, Err(Unavailable), "{user}");
        assert_eq!(store.failures(), 1);
    }
    assert_eq!(get(&*plain(&server, "timeout = \"2s\""), "key").await, Err(Unavailable), "no password");
    assert_eq!(logged.levels(), ["WARN"; 4], "{}", logged.text());
    let shown = format!("{} {store:?}", logged.text());
    assert!(!shown.contains("hush") && !shown.contains("loud") && !shown.contains("dm@"), "{shown}");
    // Files are read when protover starts, so that it says what is wrong with them.
    for (name, text, why) in [("empty", "\n", "holds no password"), ("none", "", "No such file")] {
        let path = if text.is_empty() { "none".to_owned() } else { file(name, text) };
        let error = open(&format!("url = \"redis://h\"\npassword_file = {path:?}")).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_real_redis_lets_in_the_user_of_the_url() {
    if !oracle("redis-server") {
        return;
    }
    let user = "--user dm on >hush ~protover:* -@all +get +set +del +getex";
    let server = RedisServer::start(&user.split(' ').collect::<Vec<_>>()).await;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("password");
    std::fs::write(&path, "hush").unwrap();
    let keys = format!("url = \"redis://dm@127.0.0.1:{}\"\ntimeout = \"2s\"\npassword_file = {path:?}", server.port);
    let store = open(&keys).unwrap();
    put(&*store, "key", "value", LONG).await;
    store.get("key", Some(LONG)).await.unwrap();
    store.remove("key").await.unwrap();
    // What it may not do is refused, and hinders nothing else.
    let (logged, _guard) = Logged::start();
    let elsewhere = open(&format!("{keys}\nprefix = \"theirs:\"")).unwrap();
    for _ in 0..3 {
        assert_eq!(get(&*elsewhere, "key").await, Err(Unavailable));
    }
    assert_eq!((elsewhere.failures(), logged.levels()), (3, vec!["WARN".to_owned()]));
    assert!(logged.text().contains("NOPERM"), "{}", logged.text());
}

#[tokio::test]
async fn a_real_redis_is_reached_over_tls_with_a_private_authority() {
    if !oracle("redis-server") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    crate::tls::certificates(home.path());
    let path = |name: &str| home.path().join("certs").join(name).display().to_string();
    let server = RedisServer::start_tls(&path("server.pem"), &path("server.key"), &path("ca.pem")).await;
    let with = |host: &str, ca: &str| {
        let ca = if ca.is_empty() { String::new() } else { format!("ca = {:?}", path(ca)) };
        open(&format!("url = \"rediss://{host}:{}\"\ntimeout = \"2s\"\n{ca}", server.port)).unwrap()
    };
    for host in ["127.0.0.1", "localhost"] {
        let store = with(host, "ca.pem");
        put(&*store, "key", "value", LONG).await;
        assert_eq!(get(&*store, "key").await, Ok(Some("value".into())), "{host}");
    }
    for ca in ["upstream-ca.pem", ""] {
        assert_eq!(get(&*with("127.0.0.1", ca), "key").await, Err(Unavailable), "{ca}");
    }
    assert!(open(&format!("url = \"rediss://h\"\nca = {:?}", path("no.pem"))).unwrap_err().to_string().contains("no.pem"));
    // One that does not speak TLS.
    let plain = RedisServer::start(&[]).await;
    let store = open(&format!("url = \"rediss://127.0.0.1:{}\"\nca = {:?}", plain.port, path("ca.pem"))).unwrap();
    assert_eq!(get(&*store, "key").await, Err(Unavailable));
}

#[tokio::test]
async fn a_real_redis_may_be_killed_and_started_again() {
    if !oracle("redis-server") {
        return;
    }
    let mut server = RedisServer::start(&[]).await;
    let (logged, _guard) = Logged::start();
    let store = plain(&server, "timeout = \"1s\"");
    back(&*store).await;
    for round in 0..2 {
        put(&*store, "key", "value", LONG).await;
        let before = store.failures();
        server.kill();
        let began = Instant::now();
        for _ in 0..1000 {
            assert_eq!(get(&*store, "IMEI:493005100592800").await, Err(Unavailable));
        }
        println!("1000 calls without a Redis: {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(store.failures() - before, 1000);
        server.restart().await;
        println!("back after {:?}", back(&*store).await);
        assert_eq!(get(&*store, "key").await, Ok(None), "a new one");
        // An outage is over when nothing failed for a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        back(&*store).await;
        assert_eq!(logged.levels(), ["WARN", "INFO"].repeat(round + 1), "{}", logged.text());
    }
    assert!(!logged.text().contains("IMEI"), "{}", logged.text());
}

#[tokio::test]
async fn a_real_redis_that_restarts_between_two_calls_is_not_missed() {
    if !oracle("redis-server") {
        return;
    }
    let mut server = RedisServer::start(&[]).await;
    let store = plain(&server, "timeout = \"2s\"");
    put(&*store, "key", "value", LONG).await;
    server.kill();
    server.restart().await;
    put(&*store, "key", "value", LONG).await;
    assert_eq!(store.failures(), 0);
}

#[tokio::test]
async fn a_real_redis_that_hangs_costs_one_timeout_in_a_while() {
    if !oracle("redis-server") {
        return;
    }
    let server = RedisServer::start(&[]).await;
    let store = plain(&server, "timeout = \"100ms\"");
    back(&*store).await;
    server.signal("STOP");
    // Many at once, as when messages go on coming: all within the time of one.
    let began = Instant::now();
    let calls = (0..500).map(|_| get(&*store, "key"));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_err));
    println!("500 calls at once: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Then one in half a second, and the others at once.
    let (began, mut slow, mut calls) = (Instant::now(), 0, 0);
    while began.elapsed() < Duration::from_millis(1500) {
        let asked = Instant::now();
        assert_eq!(get(&*store, "key").await, Err(Unavailable));
        slow += usize::from(asked.elapsed() > Duration::from_millis(50));
        calls += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{slow} of {calls} calls were slow");
    assert!((1..=5).contains(&slow) && calls > 100, "{slow} of {calls}");
    server.signal("CONT");
    let back = back(&*store).await;
    println!("back after {back:?}");
    assert!(back < Duration::from_secs(3), "{back:?}");
}

#[tokio::test]
async fn protover_starts_before_the_real_redis_that_it_needs() {
    if !oracle("redis-server") {
        return;
    }
    let mut server = RedisServer::start(&[]).await;
    server.kill();
    let store = plain(&server, "timeout = \"1s\"");
    assert_eq!(get(&*store, "key").await, Err(Unavailable));
    server.restart().await;
    back(&*store).await;
    put(&*store, "key", "value", LONG).await;
}

#[tokio::test]
async fn errors_of_a_real_redis_that_repeat_a_key_are_not_logged_whole() {
    if !oracle("redis-server") {
        return;
    }
    let server = RedisServer::start(&["--rename-command", "GETEX", ""]).await;
    let (logged, _guard) = Logged::start();
    let store = plain(&server, "timeout = \"2s\"");
    let mut key = String::new();
    let _ = write!(key, "IMEI:{}", 493_005_100_592_800_u64);
    put(&*store, &key, "hush", LONG).await;
    assert_eq!(store.get(&key, Some(LONG)).await, Err(Unavailable));
    assert_eq!(get(&*store, &key).await, Ok(Some("hush".into())), "others go on");
    let shown = format!("{} {store:?}", logged.text());
    assert!(shown.contains("WARN") && !shown.contains("IMEI") && !shown.contains("hush"), "{shown}");
}
