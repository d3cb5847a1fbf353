//! Medians over rounds, side by side.

use std::fmt::Write;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Operations per second.
    pub throughput: f64,
    /// 99 % of the operations took at most so many microseconds.
    pub p99_us: f64,
}

/// All measurements.
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<(&'static str, Vec<Vec<Cell>>)>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: Vec<&'static str>) -> Table {
        Table { columns, rows: Vec::new() }
    }

    /// Notes one measurement.
    pub fn add(&mut self, row: &'static str, column: &str, cell: Cell) {
        let Some(column) = self.columns.iter().position(|known| *known == column) else { return };
        let at = self.rows.iter().position(|(name, _)| *name == row).unwrap_or_else(|| {
            self.rows.push((row, vec![Vec::new(); self.columns.len()]));
            self.rows.len() - 1
        });
        if let Some(cells) = self.rows.get_mut(at).and_then(|(_, cells)| cells.get_mut(column)) {
            cells.push(cell);
        }
    }

    /// A table in Markdown: the median operations per second (the best round in brackets) and the median p99, then
    /// the first column as a multiple of each other one.
    pub fn render(&self) -> String {
        let mut out = String::from("| work |");
        for column in &self.columns {
            let _ = write!(out, " {column} |");
        }
        for column in self.columns.iter().skip(1) {
            let _ = write!(out, " ÷ {column} |");
        }
        out.push_str("\n|---|");
        out.push_str(&"---|".repeat(self.columns.len() * 2 - 1));
        for (name, columns) in &self.rows {
            let _ = write!(out, "\n| {name} |");
            for cells in columns {
                let _ = match median(cells, |cell| cell.throughput) {
                    None => write!(out, " – |"),
                    Some(rate) => {
                        let best = cells.iter().map(|cell| cell.throughput).fold(0.0, f64::max);
                        let p99 = median(cells, |cell| cell.p99_us).unwrap_or(0.0);
                        write!(out, " {} ({}) · p99 {} |", short(rate), short(best), millis(p99))
                    }
                };
            }
            let own = columns.first().and_then(|cells| median(cells, |cell| cell.throughput));
            for cells in columns.iter().skip(1) {
                let _ = match (own, median(cells, |cell| cell.throughput)) {
                    (Some(own), Some(other)) if other > 0.0 => write!(out, " {:.2} |", own / other),
                    _ => write!(out, " – |"),
                };
            }
        }
        out
    }
}

fn median(cells: &[Cell], of: impl Fn(&Cell) -> f64) -> Option<f64> {
    let mut all: Vec<f64> = cells.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

fn short(rate: f64) -> String {
    if rate >= 1_000.0 { format!("{:.1} k/s", rate / 1_000.0) } else { format!("{rate:.0}/s") }
}

fn millis(us: f64) -> String {
    format!("{:.1} ms", us / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_medians_and_ratios_and_says_where_nothing_was_measured() {
        let mut table = Table::new(vec!["ours", "theirs", "absent"]);
        let cell = |throughput| Cell { throughput, p99_us: 2_500.0 };
        for throughput in [3_000.0, 1_000.0, 2_000.0] {
            table.add("puts", "ours", cell(throughput));
        }
        table.add("puts", "theirs", cell(500.0));
        let expected = "| work | ours | theirs | absent | ÷ theirs | ÷ absent |\n\
                        |---|---|---|---|---|---|\n\
                        | puts | 2.0 k/s (3.0 k/s) · p99 2.5 ms | 500/s (500/s) · p99 2.5 ms | – | 4.00 | – |";
        assert_eq!(table.render(), expected);
    }
}
