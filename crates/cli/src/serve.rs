//! `up`, `frontend`, `index`, `data`: the commands that run nodes. Everything that touches `lamina_local` is here.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use lamina_env::task;
use lamina_env::time::Duration;
use lamina_local::processes::ProcessesOptions;
use lamina_local::{NodeOptions, Processes, StatusPage, Store, UnsyncedVolumes, UpError, UpOptions};
use lamina_local::{run_data, run_frontend, run_index};
use lamina_telemetry::logs::{self, LogForm};
use lamina_types::Settings;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{NodeArgs, UpArgs};
use crate::failure::Failure;
use crate::output;
use crate::status::web;

mod wanted;

use wanted::Wanted;

/// The status page listens so many ports above the clients' door.
const ADMIN_ABOVE: u16 = 80;
const FRONTEND_MEMORY: u64 = 128 << 20;
const INDEX_MEMORY: u64 = 1 << 30;
/// Where a client looks by itself.
const ENDPOINT_DEFAULT: &str = "127.0.0.1:4700";
/// The version of the program. A build may name another one, so that one source can play two versions in a test.
pub const VERSION: &str = match option_env!("LAMINA_BUILD_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Starts a whole store, says where it is, and runs it until it is stopped.
pub async fn up(args: UpArgs) -> Result<(), Failure> {
    // Who starts a whole store by hand wants to see its welcome, not the elections behind it.
    logs::start_filtered(LogForm::ByTerminal, "warn,openraft=error")
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let Wanted { settings, cache_bytes, index_memory_bytes } = wanted::wanted(&args)?;
    // From here on a signal ends the program in good order, also in the middle of the start.
    let stop = stop_signal()?;
    tokio::pin!(stop);
    if args.processes {
        let program = std::env::current_exe()
            .map_err(|error| Failure::Local(format!("cannot find the program that runs: {error}")))?;
        let options = ProcessesOptions {
            program,
            dir: args.dir.clone(),
            listen: args.listen,
            settings: settings.clone(),
            cache_bytes,
            index_memory_bytes,
            threads: threads_of_each(args.threads),
            log_segment_bytes: args.log_segment,
        };
        let starting = Processes::up(options);
        let store = tokio::select! {
            biased;
            () = &mut stop => return farewell(),
            store = starting => store.map_err(refused)?,
        };
        let endpoints = store.endpoints().clone();
        let settled = settled(store.client()).await;
        welcome(&args.dir, store.is_new(), store.took(), &settled, &endpoints)?;
        args.file.iter().for_each(|file| wanted::tell_differences(file, &settings, &settled));
        store.run_until(stop).await.map_err(refused)?;
    } else {
        let admin = admin_address(args.listen)?;
        let mut options = UpOptions {
            listen: Some(args.listen.to_string()),
            admin_listen: Some(admin.to_string()),
            settings: settings.clone(),
            cache_bytes,
            index_memory_bytes,
            log_segment_bytes: args.log_segment,
            page: Some(StatusPage { html: web::HTML, json: web::json }),
            version: VERSION.to_owned(),
            ..UpOptions::embedded(args.dir.clone())
        };
        if args.unsynced {
            options.volumes = Arc::new(UnsyncedVolumes);
        }
        let starting = Store::up(options);
        let store = tokio::select! {
            biased;
            () = &mut stop => return farewell(),
            store = starting => store.map_err(refused)?,
        };
        let endpoints = store.endpoints().clone();
        let settled = settled(store.client()).await;
        welcome(&args.dir, store.is_new(), store.took(), &settled, &endpoints)?;
        args.file.iter().for_each(|file| wanted::tell_differences(file, &settings, &settled));
        store.run_until(stop).await.map_err(refused)?;
    }
    farewell()
}

/// Runs one frontend until it is stopped.
pub async fn frontend(args: NodeArgs) -> Result<(), Failure> {
    start_logs()?;
    let stop = stop_of(&args)?;
    run_frontend(options(args, FRONTEND_MEMORY), stop).await.map_err(refused)
}

/// Runs one index node until it is stopped.
pub async fn index(args: NodeArgs) -> Result<(), Failure> {
    start_logs()?;
    let stop = stop_of(&args)?;
    run_index(options(args, INDEX_MEMORY), stop).await.map_err(refused)
}

/// Runs one data node until it is stopped.
pub async fn data(args: NodeArgs) -> Result<(), Failure> {
    start_logs()?;
    let stop = stop_of(&args)?;
    run_data(options(args, 0), stop).await.map_err(refused)
}

fn options(args: NodeArgs, memory_default: u64) -> NodeOptions {
    NodeOptions {
        name: args.name,
        dir: args.dir,
        advertise: args.advertise.unwrap_or_else(|| args.listen.clone()),
        listen: args.listen,
        admin_listen: args.admin_listen,
        seeds: args.seeds,
        zone: args.zone,
        memory_bytes: args.memory.unwrap_or(memory_default),
        log_segment_bytes: args.log_segment,
        checkpoint_log_bytes: args.checkpoint_log,
        version: VERSION.to_owned(),
    }
}

/// Threads of each process where a whole store shares one machine: most of the work at a time is that of three nodes,
/// and a process with one thread hands nothing over between threads.
fn threads_of_each(asked: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if asked > 0 { asked } else { (cores / 3).max(1) }
}

fn admin_address(listen: SocketAddr) -> Result<SocketAddr, Failure> {
    let port = match listen.port() {
        // Any free port: so is the one of the status page.
        0 => 0,
        port => port.checked_add(ADMIN_ABOVE).ok_or_else(|| {
            let why = "the status page listens 80 ports above --listen, and there is no such port; name a lower one";
            Failure::Usage(why.to_owned())
        })?,
    };
    Ok(SocketAddr::new(listen.ip(), port))
}

/// What was settled when the store began: how many nodes of each role it has, and more.
async fn settled(client: lamina_client::Client) -> Option<Settings> {
    client.hello().await.ok().map(|welcome| welcome.view.settings)
}

fn welcome(
    dir: &Path,
    is_new: bool,
    took: Duration,
    settings: &Option<Settings>,
    endpoints: &lamina_local::directory::Endpoints,
) -> Result<(), Failure> {
    let name =
        std::path::absolute(dir).ok().and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let mut lines = vec![format!(
        "lamina {VERSION} · store {:?}{} · ready in {:.2} s",
        name.unwrap_or_else(|| dir.display().to_string()),
        if is_new { " (new)" } else { "" },
        took.as_secs_f64()
    )];
    lines.extend(settings.as_ref().map(|settings| format!("  nodes      {}", nodes(settings))));
    if let Some(first) = endpoints.clients.first() {
        lines.push(format!("  clients    {}", endpoints.clients.join(" ")));
        if first == ENDPOINT_DEFAULT {
            lines.push("  try        lamina put hello world && lamina get hello".to_owned());
        } else {
            lines.push(format!("  try        export LAMINA_ENDPOINT={first}; lamina put hello world"));
        }
    }
    lines.push(match endpoints.status.first() {
        Some(page) => format!("  status     http://{page}   or: lamina status --watch"),
        None => "  status     lamina status --watch".to_owned(),
    });
    lines.push("  stop       Ctrl-C (kill -9 is fine too: what was acknowledged stays)".to_owned());
    output::line(&lines.join("\n"))
}

fn nodes(settings: &Settings) -> String {
    let of = |n: u32, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    [
        of(settings.frontends, "frontend", "frontends"),
        of(settings.index_nodes, "index node", "index nodes"),
        of(settings.data_nodes, "data node", "data nodes"),
    ]
    .join(" · ")
}

fn farewell() -> Result<(), Failure> {
    output::say("lamina: stopped; what was acknowledged stays");
    Ok(())
}

/// Logs of nodes go to standard error.
fn start_logs() -> Result<(), Failure> {
    logs::start(LogForm::ByTerminal).map_err(|error| Failure::Usage(error.to_string()))
}

fn refused(error: UpError) -> Failure {
    match error {
        UpError::Refused(_) | UpError::Listen(_) => Failure::Refused(error.to_string()),
        UpError::Io { .. } => Failure::Refused(error.to_string()),
        UpError::Damaged(_) => Failure::Damage(error.to_string()),
        UpError::Failed(_) => {
            Failure::Ended(format!("{error}; start it again: what was acknowledged is on disk"))
        }
        UpError::NotReady { .. } => Failure::Ended(error.to_string()),
    }
}

/// Ends at SIGTERM or SIGINT. A second one ends the process at once, which is safe at every moment.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error: std::io::Error| Failure::Local(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        drop(task::spawn(async move {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        }));
    })
}

/// The end of one node: a signal, or the end of the process that started it.
fn stop_of(args: &NodeArgs) -> Result<impl Future<Output = ()> + use<>, Failure> {
    let signals = stop_signal()?;
    let with_parent = args.end_with_parent;
    Ok(async move {
        let orphaned = async {
            if !with_parent {
                return std::future::pending().await;
            }
            // Nobody writes there: the read ends when the other end is closed, that is, when the parent is gone.
            task::compute(wait_for_end_of_input).await.ok();
        };
        tokio::select! {
            biased;
            () = signals => {}
            () = orphaned => {}
        }
    })
}

fn wait_for_end_of_input() {
    let mut one = [0u8; 1];
    loop {
        match std::io::stdin().read(&mut one) {
            Ok(1..) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_page_is_80_ports_above() {
        let admin =
            |listen: &str| admin_address(listen.parse().unwrap()).map(|address| address.to_string()).ok();
        assert_eq!(admin("127.0.0.1:4700").as_deref(), Some("127.0.0.1:4780"));
        assert_eq!(admin("[::1]:0").as_deref(), Some("[::1]:0"));
        assert_eq!(admin("127.0.0.1:65500"), None);
    }

    #[test]
    fn nodes_are_counted_in_words() {
        let one = Settings { frontends: 1, ..Settings::default() };
        assert_eq!(nodes(&one), "1 frontend · 3 index nodes · 3 data nodes");
    }
}
