//! A load in the cluster, seen from the story: how it goes, its stretches, its end.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use lamina_env::task::{self, JoinHandle};
use lamina_env::time::{self, Duration};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::kube::Namespace;
use crate::verdict::Seen;
use crate::wait::until;
use crate::wire::{Line, MARK, Progress};

/// How long the history may take on its way, after the last call.
const SENDING: Duration = Duration::from_secs(240);

/// Between two words that say nothing. `kubectl exec` gives up a stream a minute after it last wrote there: a deadline that it
/// set for that write holds for its pings, too.
const STILL_HERE: Duration = Duration::from_secs(15);

/// A load under way.
pub struct Loading {
    child: Child,
    stdin: Arc<tokio::sync::Mutex<ChildStdin>>,
    still_here: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
    reading: JoinHandle<anyhow::Result<()>>,
    complaint: JoinHandle<String>,
}

impl Loading {
    /// Starts a load in the pod `load` of a namespace, and waits for its first acknowledged write.
    ///
    /// # Errors
    /// The store acknowledges none.
    pub async fn start(
        namespace: &Namespace,
        arguments: &[&str],
        within: Duration,
    ) -> anyhow::Result<Loading> {
        let exec = ["-n", &namespace.name, "exec", "-i", "load", "--", "/usr/bin/lamina-e2e", "load"];
        let mut command = namespace.kube.command("kubectl", &[&exec, arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start kubectl exec")?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("kubectl exec has no streams");
        };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let reading = task::spawn(read(stdout, seen.clone()));
        let complaint = task::spawn(async move {
            let mut text = String::new();
            stderr.read_to_string(&mut text).await.ok();
            text
        });
        let stdin = Arc::new(tokio::sync::Mutex::new(stdin));
        let still_here = task::spawn(repeat_still_here(stdin.clone()));
        let mut loading = Loading { child, stdin, still_here, seen, reading, complaint };
        let begun = until("the first acknowledged write of the load", within, async || {
            if loading.seen.lock().begun {
                return Ok(Some(true));
            }
            Ok(loading.child.try_wait()?.map(|_| false))
        })
        .await?;
        if !begun {
            bail!("the load ended before it began: {}", loading.complaint.await.unwrap_or_default().trim());
        }
        Ok(loading)
    }

    /// How it goes since the last mark.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.seen.lock().progress()
    }

    /// Calls that failed so far, in words.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.seen.lock().failures.clone()
    }

    /// Begins a new stretch of the figures.
    ///
    /// # Errors
    /// The load has ended.
    pub async fn mark(&mut self) -> anyhow::Result<()> {
        let before = self.progress().stretch;
        self.stdin.lock().await.write_all(MARK.as_bytes()).await.context("the load has ended")?;
        until("the load's new stretch", Duration::from_secs(20), async || {
            Ok((self.progress().stretch > before).then_some(()))
        })
        .await
    }

    /// Waits until so many more writes were acknowledged.
    ///
    /// # Errors
    /// They were not, within the time.
    pub async fn more_writes(&self, more: u64, within: Duration) -> anyhow::Result<()> {
        self.grows("acknowledged writes", |progress| progress.acknowledged, more, within).await
    }

    /// Waits until so many more reads were answered.
    ///
    /// # Errors
    /// They were not, within the time.
    pub async fn more_reads(&self, more: u64, within: Duration) -> anyhow::Result<()> {
        self.grows("answered reads", |progress| progress.read, more, within).await
    }

    async fn grows(
        &self,
        what: &str,
        count: impl Fn(&Progress) -> u64,
        more: u64,
        within: Duration,
    ) -> anyhow::Result<()> {
        let wanted = count(&self.progress()) + more;
        until(&format!("{more} more {what}"), within, async || {
            ensure!(!self.reading.is_finished(), "the load has ended");
            Ok((count(&self.progress()) >= wanted).then_some(()))
        })
        .await
    }

    /// Ends the load, and takes its history and the last reading.
    ///
    /// # Errors
    /// It did not come whole, or the store answers no more.
    pub async fn finish(self) -> anyhow::Result<Seen> {
        let Loading { mut child, stdin, still_here, seen, reading, complaint } = self;
        still_here.abort();
        still_here.await.ok();
        drop(stdin);
        let whole = async {
            reading.await.context("the reader ended")??;
            child.wait().await.context("kubectl exec cannot be waited for")
        };
        let status = match time::timeout(SENDING, whole).await {
            Ok(status) => status?,
            Err(_) => bail!("the load did not end within {} s", SENDING.as_secs()),
        };
        if !status.success() {
            bail!("the load failed: {}", complaint.await.unwrap_or_default().trim());
        }
        let seen = std::mem::take(&mut *seen.lock());
        Ok(seen)
    }
}

async fn repeat_still_here(stdin: Arc<tokio::sync::Mutex<ChildStdin>>) {
    let mut writes = true;
    while writes {
        time::sleep(STILL_HERE).await;
        writes = stdin.lock().await.write_all(b"\n").await.is_ok();
    }
}

async fn read(stdout: ChildStdout, seen: Arc<Mutex<Seen>>) -> anyhow::Result<()> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        let line: Line = serde_json::from_str(&line).with_context(|| format!("no line of a load: {line}"))?;
        seen.lock().take(line);
    }
    Ok(())
}
