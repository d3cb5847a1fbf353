//! What tidy says.

use std::fmt;

/// One thing that is to be said, ordered by its place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The file, from the root of the repository.
    pub path: String,
    /// The line, from 1; 0: the file as a whole.
    pub line: usize,
    /// Whether it is refused.
    pub weight: Weight,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

/// How heavy a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Weight {
    /// The rule is broken.
    Refused,
    /// It is allowed, and should become less.
    Warned,
}

impl Finding {
    /// A broken rule.
    pub fn refused(path: &str, line: usize, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, weight: Weight::Refused, what: what.into(), mend: mend.into() }
    }

    /// Something that is allowed, and should become less.
    pub fn warned(path: &str, line: usize, what: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { weight: Weight::Warned, ..Finding::refused(path, line, what, mend) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        let weight = match self.weight {
            Weight::Refused => "",
            Weight::Warned => "warning: ",
        };
        write!(f, ": {weight}{}; {}", self.what, self.mend)
    }
}
