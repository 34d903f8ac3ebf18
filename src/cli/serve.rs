//! `protover serve`: runs the proxy.

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::Failure;
use crate::{
    admin::{Admin, Reload, Reloaded},
    config::{self, Fingerprint},
    decisions::Log,
    policy::{diagnostic, site::Policies},
    server::{Inherited, Proxy, Workers},
    telemetry::{self, manager},
};

/// How often the policies are looked at for changes, and it is said how far a drain is.
const LOOK: Duration = Duration::from_secs(1);
/// What is cut off after the drain has its line by then.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

/// Run the proxy
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  protover serve --policies /etc/protover/policies\n\n\
    SIGHUP or a changed file reloads the policies; SIGUSR1 opens the file of the decision log again;\n\
    SIGTERM drains, a second SIGTERM stops at once.")]
pub(super) struct Serve {
    /// The folder with proxy.toml and one file for each site
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
}

impl Serve {
    /// Runs until a signal ends it.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the policies are invalid; [`Failure::Failed`] when a listener, a file or the
    /// decision log cannot be opened.
    pub(super) fn run(self) -> Result<(), Failure> {
        telemetry::start();
        let inherited = Inherited::take().map_err(|error| Failure::Failed(error.to_string()))?;
        let policies = self.load().map_err(Failure::Usage)?;
        let log = Log::start(&policies.settings.decisions).map_err(|error| Failure::Failed(format!("decision log: {error}")))?;
        #[cfg(feature = "otlp")]
        let traces = telemetry::traces::Traces::start().inspect(|traces| log.trace(traces.tracer()));
        let workers = Workers::start(policies.settings.workers).map_err(|error| Failure::Failed(format!("runtime: {error}")))?;
        let ended = workers.first().block_on(self.serve(policies, log.clone(), &workers, inherited));
        // What still runs is cut off here; its lines are written as it is dropped.
        workers.end();
        log.flush();
        #[cfg(feature = "otlp")]
        if let Some(traces) = traces {
            traces.end();
        }
        ended
    }

    fn load(&self) -> Result<Policies, String> {
        let (policies, warnings) = config::load(&self.policies).map_err(|error| error.to_string())?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(policies)
    }

    async fn serve(&self, policies: Policies, log: Log, workers: &Workers, mut inherited: Inherited) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::Failed(error.to_string());
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let mut rotated = signal(SignalKind::user_defined1()).map_err(failed)?;
        let mut ends = Ends {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        };
        enough_files(policies.settings.limits.connections);
        let sites = policies.sites.len();
        let settings = policies.settings.admin.clone();
        let addresses: Vec<_> = policies.settings.listeners.iter().map(|listener| listener.address).collect();
        let admins = settings.iter().map(|admin| admin.address);
        inherited.only_at(&addresses.iter().copied().chain(admins).collect::<Vec<_>>()).map_err(failed)?;
        let mut proxy = Proxy::start_on(policies, log.clone(), &workers.others(), &mut inherited).await.map_err(failed)?;
        for (name, address) in proxy.addresses() {
            tracing::info!(listener = name, %address, sites, workers = workers.count(), "listening");
        }
        let (asks, mut asked) = mpsc::channel::<Reload>(1);
        let admin = match settings {
            Some(settings) => {
                let started = Admin::start(&settings, proxy.watched(), asks.clone(), &mut inherited).await;
                Some(started.map_err(failed)?)
            }
            None => None,
        };
        if let Some(admin) = &admin {
            tracing::info!(address = %admin.address, "listening for operators");
        }
        let reload = |proxy: &Proxy, why| {
            manager::reloading();
            let reloaded = self.reload(proxy, why);
            manager::ready(&if reloaded.ok {
                serving(proxy)
            } else {
                "policies not reloaded: the old ones are in force".to_owned()
            });
            if let Some(admin) = &admin {
                admin.metrics.reloaded(reloaded.ok);
            }
            reloaded
        };
        tokio::spawn(manager::watchdog(workers.others()));
        manager::ready(&serving(&proxy));
        let mut seen = Fingerprint::of(&self.policies);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                signal = ends.next() => {
                    tracing::info!(signal, "draining; the same again stops at once");
                    break;
                }
                _ = hangup.recv() => {
                    seen = Fingerprint::of(&self.policies);
                    reload(&proxy, "SIGHUP");
                }
                _ = rotated.recv() => log.reopen(),
                Some(told) = asked.recv() => {
                    seen = Fingerprint::of(&self.policies);
                    let _ = told.send(reload(&proxy, "asked by an operator"));
                }
                _ = look.tick() => {
                    let now = seen.again(&self.policies);
                    if now != seen {
                        seen = now;
                        reload(&proxy, "a file changed");
                    }
                }
            }
        }
        // Nobody is kept waiting for a reload that will not come.
        drop(asked);
        // At a socket that lives on, who asks whether protover is ready is for those who come after us.
        let _admin = admin.filter(|admin| !admin.inherited);
        if drained(&mut proxy, &mut ends).await {
            tracing::info!("drained");
        } else {
            proxy.stop().await;
        }
        Ok(())
    }

    fn reload(&self, proxy: &Proxy, why: &'static str) -> Reloaded {
        let loaded = config::load(&self.policies).map_err(|error| error.to_string());
        let reloaded = loaded.and_then(|(policies, warnings)| {
            let restart = proxy.reload(policies).map_err(|error| error.to_string())?;
            Ok((restart, warnings))
        });
        match reloaded {
            Ok((restart, warnings)) => {
                tracing::info!(why, "policies reloaded");
                for what in &restart {
                    tracing::warn!(what, "this change needs a restart; the old value stays");
                }
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                let diagnostics = if warnings.is_empty() { String::new() } else { diagnostic::render(&warnings, false) };
                Reloaded { ok: true, restart, diagnostics }
            }
            Err(error) => {
                tracing::error!(why, "policies not reloaded, the old ones stay in force:\n{error}");
                Reloaded { ok: false, restart: Vec::new(), diagnostics: error }
            }
        }
    }
}

/// Says how it stands.
fn serving(proxy: &Proxy) -> String {
    let (sites, listeners) = (proxy.watched().live().sites().len(), proxy.addresses().count());
    format!("serving: {sites} sites, {listeners} listeners")
}

/// Waits until everything under way has finished, and says meanwhile how much is left; false when a signal
/// ends it.
async fn drained(proxy: &mut Proxy, ends: &mut Ends) -> bool {
    let watched = proxy.watched();
    manager::stopping(watched.live().limits().drain_timeout + AFTER_DRAIN);
    let mut progress = tokio::time::interval(LOOK);
    let mut drain = std::pin::pin!(proxy.drain());
    loop {
        tokio::select! {
            () = &mut drain => return true,
            signal = ends.next() => {
                tracing::warn!(signal, "stopping at once");
                return false;
            }
            _ = progress.tick() => manager::status(&format!("draining: {} connections are open", watched.now().connections)),
        }
    }
}

/// Says so when the process may not open as many files as there may be connections. Those to servers come on top.
fn enough_files(connections: usize) {
    let Ok(limits) = std::fs::read_to_string("/proc/self/limits") else { return };
    let soft = |line: &str| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<usize>().ok();
    if let Some(files) = limits.lines().find_map(soft).filter(|files| *files <= connections) {
        tracing::warn!(
            files,
            connections,
            "fewer open files than limits.connections: raise ulimit -n, or LimitNOFILE of the unit"
        );
    }
}

struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
