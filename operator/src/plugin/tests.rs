use clap::Parser;
use serde_json::json;

use super::*;
use crate::tests::world::{Faults, NAMESPACE, World};

async fn begun() -> (World, crate::cluster::pass::Context, Place) {
    let world = World::new(5, Faults::default());
    let operator = world.operator("lamina:0.1.0");
    world.spec(json!({}));
    world.settle(&operator, 40).await;
    let place = Place { client: operator.client.clone(), namespace: NAMESPACE.to_owned() };
    (world, operator, place)
}

#[test]
fn the_command_line_reads_as_it_is_documented() {
    for line in [
        "kubectl-lamina status",
        "kubectl-lamina status -A",
        "kubectl-lamina plan -f -",
        "kubectl-lamina why orders -n shop",
        "kubectl-lamina plan -f orders.yaml",
        "kubectl-lamina restart orders data",
        "kubectl-lamina replace orders-data-1",
        "kubectl-lamina --context kind put orders hello world",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
    }
    assert!(Cli::try_parse_from(["kubectl-lamina", "restart", "orders", "nonsense"]).is_err());
}

#[tokio::test]
async fn a_store_that_is_well_waits_for_nothing_and_one_that_stalls_says_so_first() {
    let (world, operator, place) = begun().await;
    let cluster = show::cluster(&place, "orders").await.unwrap();
    assert!(show::reasons(&cluster).starts_with("nothing: "));
    let text = show::text(&cluster);
    assert!(text.starts_with("orders \u{b7} ready"), "{text}");
    assert!(text.contains("data       3/3 ready, 3 caught up"), "{text}");
    world.spec(json!({ "index": { "replicas": 5 } }));
    let cluster = show::cluster(&place, "orders").await.unwrap();
    assert!(show::reasons(&cluster).starts_with("the operator has not seen"), "{}", show::reasons(&cluster));
    world.turn(&operator).await;
    let cluster = show::cluster(&place, "orders").await.unwrap();
    let reasons = show::reasons(&cluster);
    assert!(reasons.starts_with("Stalled is True (ScalingUnsupported)"), "{reasons}");
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_a_pod_have_exit_codes_of_their_own() {
    let (_, _, place) = begun().await;
    let failure = show::cluster(&place, "others").await.unwrap_err();
    assert_eq!(
        (failure.code, failure.why.as_str()),
        (1, "there is no StorageCluster others in namespace shop")
    );
    assert_eq!(ask::replace(&place, "orders-1").await.unwrap_err().code, 2);
    assert_eq!(ask::replace(&place, "orders-nonsense-1").await.unwrap_err().code, 2);
    let refused = kube::Error::Api(Box::new(kube::core::Status::failure("no", "Forbidden").with_code(403)));
    assert_eq!(Failure::from(refused).code, 4);
}
