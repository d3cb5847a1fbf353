//! Commands that wait say what for, long before their deadline.

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStderr, Command};

use lamina_env::time::{self, Duration};
use lamina_types::limits::DEADLINE_MS_MAX;

use crate::program::{NOBODY, Up, code, command, free_ports, lamina, node_of, stderr, until};

/// A command that waits.
struct Waiting {
    child: Child,
    complaints: Lines<BufReader<ChildStderr>>,
}

impl Waiting {
    fn start(arguments: &[&str]) -> Waiting {
        let mut child = command(arguments).spawn().unwrap();
        let complaints = BufReader::new(child.stderr.take().unwrap()).lines();
        Waiting { child, complaints }
    }

    /// Its next line on standard error.
    fn says(&mut self) -> String {
        self.complaints.next().expect("it says something").unwrap()
    }

    fn is_waiting(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end: exit code and standard output.
    fn end(mut self) -> (i32, String) {
        let mut output = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        (self.child.wait().unwrap().code().unwrap(), output)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Processes that stand still, until this is dropped.
struct Frozen(Vec<u32>);

impl Frozen {
    fn new(pids: Vec<u32>) -> Frozen {
        assert!(signal("-STOP", &pids));
        Frozen(pids)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("-CONT", &self.0);
    }
}

fn signal(signal: &str, pids: &[u32]) -> bool {
    let pids = pids.iter().map(u32::to_string);
    Command::new("kill").arg(signal).args(pids).status().unwrap().success()
}

#[test]
fn where_nobody_answers_a_command_says_so_while_it_waits() {
    let mut waiting = Waiting::start(&["get", "k", "--endpoint", NOBODY, "--timeout", "20s"]);
    let line = waiting.says();
    assert_eq!(
        line,
        format!("lamina: waiting: nobody answers at {NOBODY}; still trying, 20 s at most (--timeout)")
    );
    assert!(waiting.is_waiting(), "it goes on trying");
}

#[test]
fn a_command_that_does_not_wait_long_says_one_thing_only() {
    let output = lamina(&["get", "k", "--endpoint", NOBODY, "--timeout", "1s"]);
    assert_eq!((code(&output), stderr(&output).lines().count()), (3, 1), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_a_command_says_who_is_missing_and_goes_on_when_they_are_back() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), free_ports(), &["--processes"]);
    assert_eq!(code(&up.lamina(&["put", "a", "1"])), 0);
    let mut pids = Vec::new();
    for name in ["frontend-1", "frontend-2"] {
        pids.push(until("the node runs", async || node_of(up.pid(), name)).await);
    }
    let frozen = Frozen::new(pids);
    let mut waiting = Waiting::start(&["put", "a", "2", "--endpoint", &up.endpoint, "--timeout", "100s"]);
    let line = waiting.says();
    for part in [
        "lamina: waiting: 1 of 3 frontends answers (not frontend-1, frontend-2)",
        "group 1 has no majority: 1 of its 3 replicas answers",
        "still trying, 100 s at most (--timeout)",
    ] {
        assert!(line.contains(part), "{line}");
    }
    // The store gives each attempt up after half a minute: the command does not.
    time::sleep(Duration::from_millis(DEADLINE_MS_MAX) + Duration::from_secs(2)).await;
    assert!(waiting.is_waiting(), "it goes on trying");
    drop(frozen);
    assert_eq!(waiting.end(), (0, String::new()));
    up.kill();
}
