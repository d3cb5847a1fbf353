//! What a request to the API server asks for.

use serde_json::Value;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub group: String,
    pub namespace: String,
    pub resource: String,
    pub name: String,
    pub subresource: String,
    pub verb: &'static str,
    pub query: Vec<(String, String)>,
    pub content: String,
    pub body: Value,
}

impl Request {
    /// Reads a request.
    pub fn read(method: &str, path: &str, query: &str, content: &str, body: &[u8]) -> Request {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match parts.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => panic!("path {path}"),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let at = |n: usize| rest.get(n).map(|it| (*it).to_owned()).unwrap_or_default();
        let name = at(1);
        let verb = match (method, name.is_empty()) {
            ("GET", true) if query.contains("watch=true") => "watch",
            ("GET", false) => "get",
            ("GET", true) => "list",
            ("POST", _) => "create",
            ("PATCH", _) => "patch",
            ("PUT", _) => "update",
            ("DELETE", _) => "delete",
            _ => panic!("method {method}"),
        };
        let query = query.split('&').filter_map(|it| it.split_once('='));
        let decode =
            |text: &str| text.replace("%2C", ",").replace("%3D", "=").replace("%2F", "/").replace('+', " ");
        Request {
            group: group.to_owned(),
            namespace: namespace.to_owned(),
            resource: at(0),
            name,
            subresource: at(2),
            verb,
            query: query.map(|(name, value)| (name.to_owned(), decode(value))).collect(),
            content: content.to_owned(),
            body: if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() },
        }
    }

    /// A parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch") && self.group != "events.k8s.io"
    }

    /// Resource and subresource, as roles name them.
    pub fn ruled(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Whether the table of rules covers it.
    pub fn covered(&self) -> bool {
        crate::rbac::allows(&self.group, &self.ruled(), &self.name, self.verb)
    }

    pub fn says(&self) -> String {
        format!("{} {}/{} {}", self.verb, self.resource, self.subresource, self.name)
    }
}
