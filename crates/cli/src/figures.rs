//! Numbers for people: thousands apart, units, three digits.

use lamina_env::time::Duration;

/// `1 204 334`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `1 table`, `1 204 tables`.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// `182 k`, `4.7 k`, `91`: for rates.
pub fn short(n: f64) -> String {
    match n {
        n if n >= 1e9 => format!("{} G", three(n / 1e9)),
        n if n >= 1e6 => format!("{} M", three(n / 1e6)),
        n if n >= 1e3 => format!("{} k", three(n / 1e3)),
        n => three(n),
    }
}

/// `3.1 GiB`.
pub fn bytes(n: u64) -> String {
    let n = n as f64;
    for (unit, size) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if n >= size as f64 {
            return format!("{} {unit}", three(n / size as f64));
        }
    }
    format!("{n} B")
}

/// `1.9 ms`, from microseconds.
pub fn micros(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", three(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", three(us / 1e3)),
        us => format!("{} µs", three(us)),
    }
}

/// `2 s`, `4 min`, `1.5 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Three significant digits, without an exponent.
fn three(n: f64) -> String {
    match n {
        n if n >= 99.95 || n == 0.0 => format!("{n:.0}"),
        n if n >= 9.995 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

/// Reads `500ms`, `10s`, `5m`, `2h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || "a time reads 500ms, 10s, 5m, 2h or 7d".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| "the time is too long".to_owned())
}

/// Reads `512`, `64KiB`, `128MiB`, `1GiB` (also `Ki`, `Mi`, `Gi`, as Kubernetes writes them).
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bad = || "a size reads 512, 64KiB, 128MiB or 1GiB".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let size: u64 = match unit {
        "" | "B" => 1,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "Ti" | "TiB" => 1 << 40,
        _ => return Err(bad()),
    };
    number.checked_mul(size).ok_or_else(|| "the size is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!([0, 999, 1000, 1_204_334].map(count), ["0", "999", "1 000", "1 204 334"]);
        assert_eq!([0.0, 91.0, 4_711.0, 181_960.0].map(short), ["0", "91.0", "4.71 k", "182 k"]);
        assert_eq!([17, 1 << 10, 3_328_599_654].map(bytes), ["17 B", "1.00 KiB", "3.10 GiB"]);
        assert_eq!([0.5, 42.0, 1900.0, 2e6].map(micros), ["0.50 µs", "42.0 µs", "1.90 ms", "2.00 s"]);
    }

    #[test]
    fn times_and_sizes_need_known_units() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(2 * 86_400)));
        for bad in
            ["", "10", "s", "-1s", "1.5s", "10 s", "10y", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("1Gi"), Ok(1 << 30));
        for bad in ["", "64MB", "64 MiB", "-1", "GiB", "99999999999TiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
