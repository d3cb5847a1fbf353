//! What the regular expressions of the rules say, by hand.

/// `[a-z]([-a-z0-9]*[a-z0-9])?`
pub(super) fn is_label(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.chars().all(|it| is_lower_or_digit(it) || it == '-')
}

/// `[a-z0-9]([-a-z0-9.]*[a-z0-9])?`
pub(super) fn is_dotted_name(text: &str) -> bool {
    text.starts_with(is_lower_or_digit)
        && text.ends_with(is_lower_or_digit)
        && text.chars().all(|it| is_lower_or_digit(it) || it == '-' || it == '.')
}

/// A label's value: empty, or letters, digits, `-`, `_` and `.` between letters or digits.
pub(super) fn is_label_value(text: &str) -> bool {
    let inner = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    let end = |it: char| it.is_ascii_alphanumeric();
    text.is_empty() || (text.starts_with(end) && text.ends_with(end) && text.chars().all(inner))
}

/// The key of a label: a name of at most 63 characters, behind a prefix and a slash if there is one.
pub(super) fn is_label_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_dotted_name) && !name.is_empty() && name.len() <= 63 && is_label_value(name)
}

/// `[0-9]{1,3}([.][0-9]{1,3}){3}/[0-9]{1,2}`, or `[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*/[0-9]{1,3}`
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit())
    };
    let is_hex =
        |text: &str, others: &str| text.chars().all(|it| it.is_ascii_hexdigit() || others.contains(it));
    let four = address.split('.').count() == 4 && address.split('.').all(|part| digits(part, 3));
    let six = address.split_once(':').is_some_and(|(head, rest)| is_hex(head, "") && is_hex(rest, ":."));
    (four && digits(prefix, 2)) || (six && digits(prefix, 3))
}

/// The major and the minor number of a version, if it is one.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let (core, rest) = match text.split_once('-') {
        Some((core, rest)) => (core, Some(rest)),
        None => (text, None),
    };
    let is_rest = |rest: &str| {
        (1..=32).contains(&rest.len())
            && rest.chars().all(|it| it.is_ascii_alphanumeric() || it == '.' || it == '-')
    };
    let mut numbers = core.split('.').map(part);
    let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()?);
    let whole = patch.is_some() && numbers.next().is_none() && rest.is_none_or(is_rest);
    if whole { Some((major, minor)) } else { None }
}

/// 0 to 9999 without leading zeros.
fn part(text: &str) -> Option<u32> {
    let right = (1..=4).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if right { text.parse().ok() } else { None }
}

/// A path of words, the first with a port if there is one.
pub(super) fn is_repository(text: &str) -> bool {
    let is_path = |text: &str| {
        text.split(['.', '_', '-']).all(|word| !word.is_empty() && word.chars().all(is_lower_or_digit))
    };
    let mut parts = text.split('/');
    let first = parts.next().unwrap_or_default();
    let first_is_host = match first.split_once(':') {
        Some((host, port)) => {
            is_path(host) && (1..=5).contains(&port.len()) && port.bytes().all(|it| it.is_ascii_digit())
        }
        None => is_path(first),
    };
    first_is_host && parts.all(is_path)
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]*`
pub(super) fn is_tag(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && text.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '.' | '-'))
}

/// `sha256:` and 64 hexadecimal digits in lower case.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')))
}

/// `[A-Za-z_][A-Za-z0-9_]*`
pub(super) fn is_variable(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

/// What is behind the store's name in a pod's: `-frontend-0`, `-index-12`, `-data-3`.
pub(super) fn is_node_of(cluster: &str, node: &str) -> bool {
    let role_and_number = node.strip_prefix(cluster).and_then(|rest| rest.strip_prefix('-'));
    let Some((role, number)) = role_and_number.and_then(|rest| rest.split_once('-')) else { return false };
    matches!(role, "frontend" | "index" | "data") && part(number).is_some()
}

fn is_lower_or_digit(it: char) -> bool {
    it.is_ascii_lowercase() || it.is_ascii_digit()
}
