//! The program as tests run it: one command to its end, or a store that lives until it is killed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use lamina_client::{Client, Options};
use lamina_env::time::{self, Duration};

/// An address where nobody listens: port 1 of loopback.
pub const NOBODY: &str = "127.0.0.1:1";
/// Whatever a test waits for happens within this time, or the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a command.
pub fn lamina(arguments: &[&str]) -> Output {
    lamina_with(arguments, b"")
}

/// Runs a command with this input.
pub fn lamina_with(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may be gone already.
    child.stdin.take().unwrap().write_all(input).ok();
    child.wait_with_output().unwrap()
}

/// A command, not started yet.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lamina"));
    command.args(arguments).env_remove("LAMINA_ENDPOINT").env_remove("LAMINA_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Ports for one store: the first of a hundred, of which those that a store listens on are free. Below those that the
/// system gives to outgoing connections, so that no connection takes the port of a node while the node restarts.
pub fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let hundred = NEXT.fetch_add(1, Ordering::Relaxed) + (std::process::id() % 120) as u16;
        let first = 10_000 + (hundred % 200) * 100;
        let offsets = [0, 1, 2, 20, 21, 22, 40, 41, 42, 80];
        if offsets.iter().all(|offset| TcpListener::bind(("127.0.0.1", first + offset)).is_ok()) {
            return first;
        }
    }
}

/// A store that runs. It is killed when this is dropped.
pub struct Up {
    child: Child,
    /// Where clients connect.
    pub endpoint: String,
    words: Arc<Mutex<String>>,
    /// Ends when nobody can say anything any more.
    hears: Option<thread::JoinHandle<()>>,
}

impl Up {
    /// Starts a store in a directory, and waits until it says that it is ready.
    pub fn start(dir: &Path, port: u16, more: &[&str]) -> Up {
        let mut up = Up::begin(dir, port, more);
        let output = up.child.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(output).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready in"));
        assert!(ready, "the store ended before it was ready: {}", up.words());
        thread::spawn(move || lines.for_each(drop));
        up
    }

    /// Starts a store, and does not wait.
    pub fn begin(dir: &Path, port: u16, more: &[&str]) -> Up {
        let endpoint = format!("127.0.0.1:{port}");
        let mut child = command(&["up", "--listen", &endpoint, "--log-segment", "4MiB"])
            .args(more)
            .arg("--dir")
            .arg(dir)
            .spawn()
            .expect("the program starts");
        let words = Arc::new(Mutex::new(String::new()));
        let (complaints, heard) = (child.stderr.take().expect("its complaints are piped"), words.clone());
        let hears = thread::spawn(move || {
            for line in BufReader::new(complaints).lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Up { child, endpoint, words, hears: Some(hears) }
    }

    /// What it has said on standard error until now.
    pub fn words(&self) -> String {
        self.words.lock().unwrap().clone()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client that gives up after so many seconds.
    pub fn client(&self, seconds: u64) -> Client {
        client(&self.endpoint, seconds)
    }

    /// Runs a command against it.
    pub fn lamina(&self, arguments: &[&str]) -> Output {
        lamina(&[arguments, &["--endpoint", &self.endpoint]].concat())
    }

    /// `kill -9`: everything at once.
    pub fn kill(self) {
        drop(self);
    }

    /// Waits until it ends by itself; its exit code.
    pub fn end(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap();
        // Its last words may not have been heard yet.
        self.hears.take().unwrap().join().unwrap();
        (status.code().unwrap(), self.words())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The process of a node below a supervisor.
pub fn node_of(supervisor: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.any(|word| word == b"--name") && words.next() == Some(name.as_bytes())
    })
}

pub fn client(endpoint: &str, seconds: u64) -> Client {
    let options = Options { deadline: Duration::from_secs(seconds), repeat: true };
    Client::connect(endpoint.split(',')).with(options)
}

/// Asks again and again until the answer is there.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = time::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(time::now() < deadline, "it never came that {what}");
        time::sleep(Duration::from_millis(20)).await;
    }
}
