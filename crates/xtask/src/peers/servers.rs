//! Starts and ends the servers.

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long a server may take until it listens.
const READY: Duration = Duration::from_secs(30);

/// A server, or several that are one store. They end when this is dropped.
pub struct Server {
    /// Its column in the table.
    pub name: &'static str,
    /// How the load generator finds it.
    pub target: String,
    /// What it says of itself.
    pub version: String,
    processes: Vec<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself; there is nobody to tell.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Starts Lamina in both forms, and the peers that are installed.
///
/// # Errors
/// Lamina does not start, or a peer that is installed does not.
pub fn start(lamina: &Path, dir: &Path, port: u16) -> anyhow::Result<Vec<Server>> {
    let mut servers = vec![
        lamina_store(lamina, dir, port, "lamina --processes", &["--processes"])?,
        lamina_store(lamina, dir, port + 60, "lamina", &[])?,
    ];
    servers.extend(etcd(dir, port + 70)?);
    servers.extend(redis(dir, port + 80)?);
    Ok(servers)
}

fn lamina_store(
    lamina: &Path,
    dir: &Path,
    port: u16,
    name: &'static str,
    options: &[&str],
) -> anyhow::Result<Server> {
    let mut command = Command::new(lamina);
    command.arg("up").arg("--dir").arg(dir.join(name)).args(["--listen", &local(port)]).args(options);
    let process = spawn(command, &dir.join(format!("{name}.log")))?;
    let mut server = Server {
        name,
        target: format!("lamina://{}", local(port)),
        version: version(lamina, "version"),
        processes: vec![process],
    };
    wait_until_answers(lamina, &mut server, port)?;
    Ok(server)
}

/// Three members.
fn etcd(dir: &Path, port: u16) -> anyhow::Result<Option<Server>> {
    let program = Path::new("etcd");
    if !is_installed(program) {
        eprintln!("etcd is not installed, and left out");
        return Ok(None);
    }
    let url = |port: u16| format!("http://{}", local(port));
    let cluster: Vec<String> = (0..3).map(|at| format!("m{at}={}", url(port + 2 * at + 1))).collect();
    let mut server = Server {
        name: "etcd",
        target: format!("etcd://{}", local(port)),
        version: version(program, "--version") + ", 3 members",
        processes: Vec::new(),
    };
    for at in 0..3 {
        let (clients, peers) = (url(port + 2 * at), url(port + 2 * at + 1));
        let mut command = Command::new(program);
        command.args(["--name", &format!("m{at}")]).arg("--data-dir").arg(dir.join(format!("etcd-{at}")));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &cluster.join(","), "--log-level", "error"]);
        server.processes.push(spawn(command, &dir.join(format!("etcd-{at}.log")))?);
    }
    for at in 0..3 {
        wait_until_listens(&mut server, port + 2 * at)?;
    }
    Ok(Some(server))
}

/// One node that syncs each write.
fn redis(dir: &Path, port: u16) -> anyhow::Result<Option<Server>> {
    let program = Path::new("redis-server");
    if !is_installed(program) {
        eprintln!("redis-server is not installed, and left out");
        return Ok(None);
    }
    let data = dir.join("redis");
    std::fs::create_dir(&data).context("making a directory for redis")?;
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]).arg("--dir").arg(data);
    command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    let process = spawn(command, &dir.join("redis.log"))?;
    let mut server = Server {
        name: "redis",
        target: format!("redis://{}", local(port)),
        version: version(program, "--version") + ", one node, appendfsync always",
        processes: vec![process],
    };
    wait_until_listens(&mut server, port)?;
    Ok(Some(server))
}

fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Child> {
    let log = File::create(log).with_context(|| format!("making {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let started = command.spawn();
    started.with_context(|| format!("starting {}", command.get_program().display()))
}

fn wait_until_listens(server: &mut Server, port: u16) -> anyhow::Result<()> {
    wait(server, || TcpStream::connect(local(port)).is_ok())
}

/// A port that listens is not yet a store that serves.
fn wait_until_answers(lamina: &Path, server: &mut Server, port: u16) -> anyhow::Result<()> {
    wait(server, || {
        let probe = Command::new(lamina)
            .args(["probe", "--endpoint", &local(port)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        probe.is_ok_and(|status| status.success())
    })
}

fn wait(server: &mut Server, is_ready: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_ready() {
        for process in &mut server.processes {
            if let Some(status) = process.try_wait()? {
                bail!("{} ended at once ({status}); is another one at its port?", server.name);
            }
        }
        if begun.elapsed() > READY {
            bail!("{} does not answer within {} seconds", server.name, READY.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn is_installed(program: &Path) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// The first line of what a program says of its version.
fn version(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("of an unknown version").to_owned()
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
