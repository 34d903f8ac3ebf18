//! A real Redis, for the life of a test.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::rig::{PATIENCE, nobody};

/// A Redis on a port of its own, which keeps nothing on disk.
pub(crate) struct RedisServer {
    pub(crate) port: u16,
    arguments: Vec<String>,
    child: Child,
    folder: TempDir,
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl RedisServer {
    pub(crate) async fn start(more: &[&str]) -> Self {
        let port = nobody().await.port();
        Self::with(port, [&["--port", &port.to_string()], more].concat()).await
    }

    /// One that speaks nothing but TLS.
    pub(crate) async fn start_tls(certificate: &str, key: &str, ca: &str) -> Self {
        let port = nobody().await.port();
        let files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca];
        let tls = ["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"];
        Self::with(port, [&tls[..], &files].concat()).await
    }

    async fn with(port: u16, more: Vec<&str>) -> Self {
        let fixed = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let arguments: Vec<String> = fixed.into_iter().chain(more).map(str::to_owned).collect();
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(&arguments, &folder);
        let mut server = Self { port, arguments, child, folder };
        server.ready().await;
        server
    }

    /// Ends it the hard way; whoever is connected sees the connection end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was, empty.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.arguments, &self.folder);
        self.ready().await;
    }

    /// `STOP` lets it hang, `CONT` go on.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// The first line of the answer to a command.
    pub(crate) async fn ask(&self, command: &str) -> String {
        let answer = self.raw(command).await;
        answer.lines().next().unwrap_or_default().to_owned()
    }

    /// A value of `INFO`.
    pub(crate) async fn info(&self, name: &str) -> String {
        let answer = self.raw("INFO").await;
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name}:\n{answer}")).to_owned()
    }

    async fn raw(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn ready(&mut self) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "redis-server ended");
            assert!(began.elapsed() < PATIENCE, "redis-server does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn spawn(arguments: &[String], folder: &TempDir) -> Child {
    let mut command = Command::new("redis-server");
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}
