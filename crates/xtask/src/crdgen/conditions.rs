//! `docs/conditions.md` from the reasons in `crds/src/reasons.rs`.

use std::fmt::Write as _;

use lamina_crds::{ConditionType, Reason};

const HEAD: &str = "\
# Conditions of a StorageCluster

Every condition is there from the operator's first pass on; `Unknown` means that nothing is known yet. A *reason* is a stable
word that programs may compare; the message beside it is for people and may change.

```sh
kubectl wait stc/orders --for=condition=Ready
kubectl get stc/orders -o jsonpath='{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{\"\\n\"}{end}'
```

This page is written by `cargo xtask crdgen` from `crds/src/reasons.rs`; a test holds it.
";

/// The whole page.
pub fn page() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("\n| condition | `True` means | how it should be |\n|---|---|---|\n");
    for condition in ConditionType::ALL {
        let should = match condition.good() {
            Some(true) => "True",
            Some(false) => "False",
            None => "either",
        };
        let _ = writeln!(out, "| `{condition}` | {} | {should} |", condition.meaning());
    }
    out.push_str("\n## Reasons\n\n| reason | means | conditions |\n|---|---|---|\n");
    for reason in Reason::ALL {
        let conditions = reason.conditions();
        let names = if conditions.len() == ConditionType::ALL.len() {
            "all".to_owned()
        } else {
            conditions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let _ = writeln!(out, "| `{reason}` | {} | {names} |", reason.meaning());
    }
    out
}
