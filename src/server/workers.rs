//! The threads that serve, each with a runtime of its own. A connection stays on the worker that accepted
//! it, so nothing of a request moves between cores, and no worker has to wake another for it.

use std::{
    io,
    num::NonZeroUsize,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

/// How long a worker may take to end.
const END: Duration = Duration::from_secs(1);

/// The runtimes of the process: the first for the thread that started them, which also sees to signals,
/// reloads and the store, and one for each further thread.
#[derive(Debug)]
pub struct Workers {
    first: Runtime,
    others: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts so many; without a number `TOKIO_WORKER_THREADS`, or one for each core that the process
    /// may use.
    ///
    /// # Errors
    /// When there are no threads or file descriptors for them, or the variable is no number.
    pub fn start(count: Option<NonZeroUsize>) -> io::Result<Self> {
        let count = match count {
            Some(count) => count,
            None => by_environment()?.map_or_else(thread::available_parallelism, Ok)?,
        };
        let others = (1..count.get()).map(Worker::start).collect::<io::Result<_>>()?;
        Ok(Self { first: runtime()?, others })
    }

    /// The runtime of the thread that started them.
    #[must_use]
    pub const fn first(&self) -> &Runtime {
        &self.first
    }

    /// The others, whose threads run already.
    #[must_use]
    pub fn others(&self) -> Vec<Handle> {
        self.others.iter().map(|worker| worker.runtime.clone()).collect()
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// Ends them, and with them what still runs there.
    pub fn end(self) {
        let threads: Vec<_> = self.others.into_iter().map(|Worker { end, thread, .. }| (end.send(()), thread)).collect();
        self.first.shutdown_timeout(END);
        for (_, thread) in threads {
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let own = runtime()?;
        let (end, ended) = oneshot::channel();
        let runtime = own.handle().clone();
        let run = move || {
            let _ = own.block_on(ended);
            own.shutdown_timeout(END);
        };
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(run)?;
        Ok(Self { runtime, end, thread })
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn by_environment() -> io::Result<Option<NonZeroUsize>> {
    const NAME: &str = "TOKIO_WORKER_THREADS";
    let Some(written) = std::env::var_os(NAME).filter(|written| !written.is_empty()) else { return Ok(None) };
    let number = written.to_str().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{NAME} is not a number of threads")))
}
