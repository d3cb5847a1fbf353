//! How a status looks on a terminal of 80 columns.

use crate::figures::{bytes, count, micros, short};

use super::report::{Node, NodeFigures, Report, Tier};

/// Four lines, what is wrong, and what is worth a look. `before`: an earlier report and the seconds since then, for rates.
pub fn summary(report: &Report, before: Option<(&Report, f64)>) -> String {
    let cluster = report.cluster.get(..8).unwrap_or(&report.cluster);
    let state = if report.healthy { "all well" } else { "NOT WELL" };
    let mut lines = vec![format!("store {cluster}…   map epoch {}   {state}", report.epoch)];
    lines.push(frontends(report));
    lines.push(index(report, before));
    lines.push(data(report, before));
    lines.extend(report.troubles.iter().map(|trouble| format!("! {trouble}")));
    lines.extend(report.notes.iter().map(|note| format!("  {note}")));
    if let Some(node) = &report.stop_granted_to {
        lines.push(format!("  {node} may be stopped now"));
    }
    lines.join("\n")
}

fn head(name: &str, tier: Tier) -> String {
    format!("{name:<10} {}/{}", tier.present, tier.expected)
}

fn frontends(report: &Report) -> String {
    let groups = &report.groups;
    let leaders: Vec<&str> = groups.iter().map(|group| group.leader.as_deref().unwrap_or("nobody")).collect();
    let writes: f64 = groups.iter().map(|group| group.writes_per_second).sum();
    let p99 = groups.iter().map(|group| group.write_p99_us).max().unwrap_or(0);
    let used: u64 = groups.iter().map(|group| group.memtable_bytes).sum();
    let budget: u64 = groups.iter().map(|group| group.memtable_bytes_max).sum();
    format!(
        "{}   led by {}   writes {}/s   p99 {}   memtables {} of {}",
        head("frontends", report.frontends),
        leaders.join(" "),
        short(writes),
        micros(p99 as f64),
        bytes(used),
        bytes(budget)
    )
}

fn index(report: &Report, before: Option<(&Report, f64)>) -> String {
    let (mut used, mut budget) = (0, 0);
    for node in &report.nodes {
        if let NodeFigures::Index { index_bytes, index_bytes_max, .. } = node.figures {
            used += index_bytes;
            budget += index_bytes_max;
        }
    }
    let lookups = |node: &Node| match node.figures {
        NodeFigures::Index { lookups, .. } => lookups,
        _ => 0,
    };
    format!(
        "{}   shards {} (×{})   {}   memory {} of {}",
        head("index", report.index),
        report.shards.count,
        report.shards.replication,
        counted("lookups", report, before, lookups),
        bytes(used),
        bytes(budget)
    )
}

fn data(report: &Report, before: Option<(&Report, f64)>) -> String {
    let mut jobs = 0;
    for node in &report.nodes {
        if let NodeFigures::Data { jobs: of_node, .. } = node.figures {
            jobs += of_node;
        }
    }
    let blocks = |node: &Node| match node.figures {
        NodeFigures::Data { blocks_read, .. } => blocks_read,
        _ => 0,
    };
    let compacting = if jobs > 0 { format!("   {jobs} compactions") } else { String::new() };
    format!(
        "{}   tables {} (×{})   {}   {}{compacting}",
        head("data", report.data),
        count(report.tables),
        report.data_replication,
        bytes(report.table_bytes),
        counted("block reads", report, before, blocks)
    )
}

/// A sum over nodes: as a rate if there is an earlier report. (A node that has started again counts from 0.)
fn counted(name: &str, report: &Report, before: Option<(&Report, f64)>, of: impl Fn(&Node) -> u64) -> String {
    let sum = |report: &Report| report.nodes.iter().map(&of).sum::<u64>();
    match before {
        Some((before, seconds)) if seconds > 0.0 => {
            format!("{name} {}/s", short(sum(report).saturating_sub(sum(before)) as f64 / seconds))
        }
        _ => format!("{name} {}", count(sum(report))),
    }
}

/// Every node and every group.
pub fn tables(report: &Report) -> String {
    let mut nodes = vec![["node", "state", "version", "memory", "holds", "address"].map(str::to_owned)];
    for node in &report.nodes {
        let state = match (node.seen, node.answers) {
            (true, true) => node.state.to_owned(),
            (true, false) => format!("{}, silent", node.state),
            (false, _) => format!("{}, not heard of", node.state),
        };
        let memory = node.memory_bytes.map_or_else(|| "–".to_owned(), bytes);
        nodes.push([
            node.name.clone(),
            state,
            node.version.clone(),
            memory,
            holds(&node.figures),
            node.address.clone(),
        ]);
    }
    let header =
        ["group", "leader", "replicas", "tablets", "runs", "tables", "bytes", "memtables", "last version"];
    let mut groups = vec![header.map(str::to_owned)];
    for group in &report.groups {
        groups.push([
            group.group.to_string(),
            group.leader.clone().unwrap_or_else(|| "nobody".to_owned()),
            format!("{}/{}", group.caught_up, group.voters),
            group.tablets.to_string(),
            group.runs_max.to_string(),
            count(group.tables),
            bytes(group.table_bytes),
            bytes(group.memtable_bytes),
            group.last_version.to_string(),
        ]);
    }
    format!("{}\n\n{}", aligned(&nodes), aligned(&groups))
}

fn holds(figures: &NodeFigures) -> String {
    match figures {
        NodeFigures::None {} => "–".to_owned(),
        NodeFigures::Frontend { leads, log_bytes, .. } => {
            let leads = if *leads == 1 { "1 group".to_owned() } else { format!("{leads} groups") };
            format!("leads {leads}, log {}", bytes(*log_bytes))
        }
        NodeFigures::Index { tables, shards, shards_complete, index_bytes, .. } => {
            format!("{shards_complete}/{shards} shards, {tables} parts, {}", bytes(*index_bytes))
        }
        NodeFigures::Data { tables, file_bytes, free_bytes, .. } => {
            format!("{tables} tables, {}, {} free", bytes(*file_bytes), bytes(*free_bytes))
        }
    }
}

/// Columns one below the other, two spaces apart.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
