//! `plan`: the operator's own plan, made here. What the store has to say is asked through port-forwards.

use std::path::Path;
use std::sync::Arc;

use kube::Api;
use lamina_crds::StorageCluster;
use lamina_crds::operation::Component;
use lamina_env::Clock;
use lamina_env::clock::OsClock;
use lamina_types::ClusterId;
use serde_json::Value;

use super::tunnels::Tunnels;
use super::{Failure, Place, say};
use crate::cluster::compare::text;
use crate::cluster::observe::observe;
use crate::cluster::plan::rollout::targets;
use crate::cluster::plan::{Input, plan as make};
use crate::names::Key;
use crate::options::Images;
use crate::store::Store;

/// Shows what would be done if the file were applied.
pub async fn plan(place: &Place, file: &Path) -> Result<(), Failure> {
    let document = read(file)?;
    let said = |field: &str| text(&document, field).map(str::to_owned);
    let name = said("/metadata/name").unwrap_or_default();
    let namespace = said("/metadata/namespace").unwrap_or_else(|| place.namespace.clone());
    let key = Key { namespace, name };
    let api: Api<StorageCluster> = Api::namespaced(place.client.clone(), &key.namespace);
    let live = api.get_opt(&key.name).await?;
    let old = live.as_ref().and_then(|it| serde_json::to_value(it).ok());
    // As the API server would judge it, beside what it is to replace.
    let wanted = lamina_crds::check::cluster(&document, old.as_ref())
        .map_err(|error| Failure::input(format!("{}:\n{error}", file.display())))?;
    let is_new = live.is_none();
    let mut cluster = live.unwrap_or_else(|| wanted.clone());
    cluster.spec = wanted.spec;
    let frontends = cluster.spec.shape().settings.frontends;
    let frontends = (0..frontends).map(|n| key.address(Component::Frontend, n)).collect();
    let tunnels = Arc::new(Tunnels::new(place.client.clone(), &key.namespace));
    let network = tunnels.clone();
    let now = i64::try_from(OsClock.now_ms() / 1000).unwrap_or_default();
    let seen = observe(&place.client, &Store::new(network, frontends), &key, &cluster, now).await?;
    let images = images(&seen);
    let input = Input {
        key: &key,
        cluster: &cluster,
        seen: &seen,
        images: &images,
        operator_namespace: "",
        now,
        fresh: ClusterId(0),
    };
    if seen.identities.is_empty() && !seen.pods.is_empty() {
        let why = tunnels.trouble().unwrap_or_else(|| "they do not answer".to_owned());
        say(&format!("the nodes could not be asked ({why}); the operator, which can, may plan otherwise"))?;
    }
    let plan = make(&input);
    for stall in &plan.stalls {
        say(&format!("refused ({}): {}", stall.reason, stall.message))?;
    }
    if is_new {
        say("a new store: all its objects are created, and it begins when all nodes answer")?;
    }
    // Policies name the operator's namespace, which is not known here.
    let steps = plan
        .actions
        .iter()
        .map(crate::cluster::plan::Action::says)
        .filter(|it| !it.contains("NetworkPolicy"));
    let steps: Vec<String> = steps.collect();
    let restarts = targets(&input, &plan);
    for (number, step) in steps.iter().enumerate() {
        say(&format!("{:>3}. {step}", number + 1))?;
    }
    if !restarts.is_empty() {
        say("pods that are replaced, in this order, each when the store can do without it:")?;
        for target in &restarts {
            say(&format!("     {}", key.pod(target.place.0, target.place.1)))?;
        }
    }
    if steps.is_empty() && restarts.is_empty() && plan.stalls.is_empty() {
        say("nothing would be done")?;
    }
    Ok(())
}

/// The StorageCluster of a file, or of standard input.
fn read(file: &Path) -> Result<Value, Failure> {
    let failed = |error: std::io::Error| Failure::input(format!("{}: {error}", file.display()));
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    lamina_crds::check::document_in(&text.map_err(failed)?)
        .map_err(|error| Failure::input(format!("{}:\n{error}", file.display())))
}

/// The image that the operator gives to stores is not known here. That of the accepted template is what it would keep.
fn images(seen: &crate::cluster::seen::Seen) -> Images {
    let accepted = seen.templates.values().next().map(|it| it.image.clone());
    Images { image: accepted.unwrap_or_else(|| Images::default().image), ..Images::default() }
}
