//! The status page for browsers: one document, and the JSON that it asks for every second.

use lamina_peers::admin::Status;
use serde::Serialize;

use super::report::Report;

/// The page of `lamina up`.
pub const HTML: &str = include_str!("web/page.html");

/// What the page shows: the report, and what only a picture has room for.
#[derive(Serialize)]
struct Picture {
    #[serde(flatten)]
    report: Report,
    /// For each index shard its replicas.
    shard_map: Vec<Vec<Replica>>,
    /// Resident memory of the process that shows the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    process_memory_bytes: Option<u64>,
}

/// A replica of an index shard.
#[derive(Serialize)]
struct Replica {
    node: String,
    complete: bool,
}

/// What the page asks for.
pub fn json(status: &Status) -> String {
    let name = |node| status.view.node(node).map_or_else(String::new, |node| node.name.clone());
    let shards = status.view.shards.iter().map(|shard| {
        let replicas = shard.replicas.iter();
        replicas.map(|replica| Replica { node: name(replica.node), complete: replica.complete }).collect()
    });
    let picture = Picture {
        report: Report::of(status),
        shard_map: shards.collect(),
        process_memory_bytes: lamina_telemetry::memory::read().map(|memory| memory.resident),
    };
    // A report is names, numbers and lists: it always has a form as JSON.
    serde_json::to_string(&picture).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::HTML;

    #[test]
    fn the_page_takes_nothing_from_elsewhere_and_puts_no_text_of_the_store_in_as_markup() {
        for foreign in
            ["src=", "@import", "url(", "innerHTML", "insertAdjacentHTML", "document.write", "eval("]
        {
            assert!(!HTML.contains(foreign), "{foreign}");
        }
        let elsewhere = HTML.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("://"), "an address of another server");
    }
}
