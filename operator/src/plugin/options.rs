//! What can be typed behind `kubectl lamina`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use lamina_crds::operation::Component;

/// What programs are told.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 no such store or key, 2 the command or its input is wrong, 3 nobody answers, \
                          4 not allowed, 5 data is lost";

/// Lamina stores in Kubernetes
#[derive(Parser, Debug)]
#[command(name = "kubectl-lamina", bin_name = "kubectl lamina", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// The namespace; else that of the kubeconfig's context
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// The context of the kubeconfig
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show stores, their nodes and their conditions
    Status {
        /// The store; else all of the namespace
        #[arg(conflicts_with = "all_namespaces")]
        name: Option<String>,
        /// Those of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Say what a store is waiting for, and what you can do
    Why {
        /// The store
        name: String,
    },
    /// Show what the operator would do, without doing it
    Plan {
        /// A StorageCluster; -: standard input
        #[arg(short, long)]
        file: PathBuf,
    },
    /// Restart pods, one after the other, each when the store can do without it
    Restart {
        /// The store
        name: String,
        /// Only this role
        component: Option<Role>,
    },
    /// Give up a lost node with its volume, and start an empty one in its place
    Replace {
        /// Its pod, like orders-data-1
        pod: String,
    },
    /// Read a key
    Get {
        /// The store
        name: String,
        /// The key
        key: String,
    },
    /// Write a key
    Put {
        /// The store
        name: String,
        /// The key
        key: String,
        /// The value
        value: String,
    },
    /// Delete a key
    Delete {
        /// The store
        name: String,
        /// The key
        key: String,
    },
}

/// A role of nodes
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Role {
    /// Frontends
    Frontend,
    /// Index nodes
    Index,
    /// Data nodes
    Data,
}

impl Role {
    /// The component.
    pub fn component(self) -> Component {
        match self {
            Role::Frontend => Component::Frontend,
            Role::Index => Component::Index,
            Role::Data => Component::Data,
        }
    }
}
