//! A whole run: the cluster, the images, the charts, the stories, the table of what was seen.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use lamina_env::time::{self, Duration};

use crate::cluster::{self, Cluster};
use crate::evidence;
use crate::kube::Kube;
use crate::stage::Stage;
use crate::stories::rolling::TooSlow;
use crate::stories::{self, Story, Told};
use crate::world::World;

/// How long one story may take, whatever it waits for.
const STORY: Duration = Duration::from_secs(900);
/// What kind puts before the name of a cluster.
const KIND_CONTEXT: &str = "kind-";

/// What is run.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Use the cluster of KUBECONFIG instead of making one. Unless kind made it, it must have the images already
    #[arg(long)]
    pub existing: bool,
    /// Leave the cluster and the namespaces of failed stories for a look
    #[arg(long)]
    pub keep: bool,
    /// Stories by name; without any: all
    #[arg(long = "story")]
    pub stories: Vec<String>,
    /// Name of the kind cluster
    #[arg(long, default_value = "lamina-e2e")]
    pub cluster: String,
    /// Repository of the image under test
    #[arg(long)]
    pub repository: String,
    /// Its tag
    #[arg(long)]
    pub tag: String,
    /// The tag of the same source with a higher version
    #[arg(long)]
    pub next_tag: String,
    /// The image of the pod that makes the load, with its tag
    #[arg(long)]
    pub load_image: String,
    /// The folder with the charts
    #[arg(long)]
    pub charts: PathBuf,
    /// The table of manifests that the API server takes or refuses
    #[arg(long)]
    pub table: PathBuf,
    /// The folder with the program kubectl-lamina
    #[arg(long)]
    pub plugin: PathBuf,
    /// Where objects, events and logs of failed stories are kept
    #[arg(long)]
    pub evidence: PathBuf,
}

/// How a story went.
struct Ended {
    story: &'static Story,
    took: Duration,
    result: anyhow::Result<Told>,
}

/// Runs the stories; whether all of them held.
///
/// # Errors
/// The cluster cannot be made, or the operator not be installed.
pub async fn run(args: RunArgs) -> anyhow::Result<bool> {
    let stories = chosen(&args.stories)?;
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let begun = time::now();
    let cluster = match args.existing {
        true => None,
        false => Some(Cluster::create(&args.cluster, dir.path()).await?),
    };
    if cluster.is_some() {
        say(&format!("cluster {}: {:.0} s", args.cluster, begun.elapsed().as_secs_f64()));
    }
    let told = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        told = on(&args, cluster.as_ref(), &stories) => told,
    };
    match cluster {
        Some(cluster) if args.keep => {
            say(&format!("the cluster stays: kind delete cluster --name {}", cluster.name()))
        }
        Some(cluster) => cluster.delete().await?,
        None => {}
    }
    let ended = told?;
    summary(&ended, begun.elapsed());
    Ok(ended.iter().all(|it| it.result.is_ok()))
}

async fn on(
    args: &RunArgs,
    cluster: Option<&Cluster>,
    stories: &[&'static Story],
) -> anyhow::Result<Vec<Ended>> {
    let kube = cluster.map_or_else(|| Kube::new(None), Cluster::kube);
    let world = World {
        kube,
        repository: args.repository.clone(),
        tag: args.tag.clone(),
        next_tag: args.next_tag.clone(),
        load_image: args.load_image.clone(),
        charts: args.charts.clone(),
        plugin: args.plugin.clone(),
        table: args.table.clone(),
    };
    let begun = time::now();
    images(args, &world).await?;
    say(&format!("images: {:.0} s", begun.elapsed().as_secs_f64()));
    let begun = time::now();
    if let Err(error) = world.install().await {
        evidence::collect(&world, crate::world::OPERATOR_NAMESPACE, &args.evidence.join("installation"))
            .await?;
        return Err(error.context("the charts cannot be installed"));
    }
    say(&format!("charts: {:.0} s", begun.elapsed().as_secs_f64()));
    let mut ended = Vec::new();
    for story in stories {
        let mut told = tell(args, &world, story).await?;
        if told.result.as_ref().is_err_and(|error| error.is::<TooSlow>()) && !args.keep {
            // From in here a machine that stood still looks like a store that did. A store that is slow is slow again.
            say("  once more: was it the machine?");
            told = tell(args, &world, story).await?;
        }
        ended.push(told);
    }
    Ok(ended)
}

/// Puts the images where kind made the cluster; elsewhere they are there, or can be pulled.
async fn images(args: &RunArgs, world: &World) -> anyhow::Result<()> {
    let context = match args.existing {
        true => world.kube.run(&["config", "current-context"]).await?,
        false => format!("{KIND_CONTEXT}{}", args.cluster),
    };
    let Some(cluster) = context.trim().strip_prefix(KIND_CONTEXT) else { return Ok(()) };
    let images = [
        format!("{}:{}", args.repository, args.tag),
        format!("{}:{}", args.repository, args.next_tag),
        args.load_image.clone(),
    ];
    for image in images {
        cluster::load(cluster, &image).await?;
    }
    Ok(())
}

async fn tell(args: &RunArgs, world: &World, story: &'static Story) -> anyhow::Result<Ended> {
    say(&format!("story {}: {}", story.name, story.shows));
    let begun = time::now();
    let stage = Stage::set(world, story.name).await;
    let result = match &stage {
        Ok(stage) => match time::timeout(STORY, (story.tell)(stage)).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("the story did not end within {} s", STORY.as_secs())),
        },
        Err(error) => Err(anyhow::anyhow!("the stage cannot be set: {error:#}")),
    };
    let took = begun.elapsed();
    match &result {
        Ok(told) => {
            for fact in &told.facts {
                say(&format!("  {fact}"));
            }
            say(&format!("  holds: {:.0} s, {} operations checked", took.as_secs_f64(), told.operations));
        }
        Err(error) => {
            say(&format!("  FAILED after {:.0} s: {error:#}", took.as_secs_f64()));
            let dir = args.evidence.join(story.name);
            evidence::collect(world, &format!("e2e-{}", story.name), &dir).await?;
            say(&format!("  objects, events and logs: {}", shown(&dir)));
        }
    }
    if let Ok(stage) = stage
        && !(args.keep && result.is_err())
        && let Err(error) = stage.strike().await
    {
        // A namespace that does not go away is a failure of this story, too.
        let result = result.and_then(|_| Err(error.context("the namespace does not go away")));
        return Ok(Ended { story, took, result });
    }
    Ok(Ended { story, took, result })
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Story>> {
    if names.is_empty() {
        return Ok(stories::ALL.iter().collect());
    }
    let known = || stories::ALL.iter().map(|story| story.name).collect::<Vec<_>>().join(", ");
    for name in names {
        if stories::ALL.iter().all(|story| story.name != name) {
            bail!("there is no story {name}; there are {}", known());
        }
    }
    let chosen: Vec<_> =
        stories::ALL.iter().filter(|story| names.iter().any(|name| name == story.name)).collect();
    ensure!(!chosen.is_empty(), "no story is chosen");
    Ok(chosen)
}

fn summary(ended: &[Ended], took: Duration) {
    say("");
    for one in ended {
        let (how, operations) = match &one.result {
            Ok(told) => ("holds ", told.operations),
            Err(_) => ("FAILED", 0),
        };
        say(&format!(
            "{how} {:>5.0} s {operations:>7} operations  {}",
            one.took.as_secs_f64(),
            one.story.name
        ));
    }
    let held = ended.iter().filter(|it| it.result.is_ok()).count();
    let operations: u64 = ended.iter().flat_map(|it| &it.result).map(|told| told.operations).sum();
    say(&format!(
        "{held} of {} stories hold; {operations} operations checked; {:.0} s",
        ended.len(),
        took.as_secs_f64()
    ));
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn say(line: &str) {
    println!("{line}");
}
