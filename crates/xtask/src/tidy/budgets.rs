//! Lengths: what does not fit on a few pages hides something.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, Item, ItemFn, ItemMod, Signature, TraitItemFn};

use crate::tidy::finding::Finding;
use crate::tidy::source::{Crate, File, is_test_only};

/// Production lines of a file above which it is refused.
pub const FILE_LINES_MAX: usize = 600;
/// Production lines of a file that are wanted at most.
pub const FILE_LINES_WANTED: usize = 400;
/// Lines of a function, from `fn` to its last brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a test module inside a file of production code.
pub const INLINE_TEST_LINES_MAX: usize = 150;

/// Measures a crate.
pub fn check(one: &Crate, findings: &mut Vec<Finding>) {
    for file in &one.files {
        length(file, findings);
        inline_tests(&file.path, &file.parsed.items, findings);
        Functions { file, findings }.visit_file(&file.parsed);
    }
}

fn length(file: &File, findings: &mut Vec<Finding>) {
    if file.is_test {
        return;
    }
    let lines = (1..=file.text.lines().count()).filter(|line| !file.in_test(*line)).count();
    let what = format!("{lines} lines of production code");
    if lines > FILE_LINES_MAX {
        findings.push(Finding::refused(
            &file.path,
            0,
            what,
            format!("at most {FILE_LINES_MAX}: cut it by concern into `foo.rs` and `foo/`"),
        ));
    } else if lines > FILE_LINES_WANTED {
        findings.push(Finding::warned(
            &file.path,
            0,
            what,
            format!("at most {FILE_LINES_WANTED} are wanted"),
        ));
    }
}

fn inline_tests(path: &str, items: &[Item], findings: &mut Vec<Finding>) {
    for item in items {
        let Item::Mod(ItemMod { attrs, content: Some((_, inner)), ident, .. }) = item else { continue };
        if !is_test_only(attrs) {
            inline_tests(path, inner, findings);
            continue;
        }
        let span = item.span();
        let lines = span.end().line + 1 - span.start().line;
        if lines > INLINE_TEST_LINES_MAX {
            findings.push(Finding::refused(
                path,
                span.start().line,
                format!("the test module `{ident}` has {lines} lines"),
                format!("at most {INLINE_TEST_LINES_MAX} inline: move it to a file of its own"),
            ));
        }
    }
}

struct Functions<'a> {
    file: &'a File,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &Signature, block: &Block) {
        let first = signature.fn_token.span().start().line;
        let lines = block.span().end().line + 1 - first;
        if lines <= FUNCTION_LINES_MAX {
            return;
        }
        let what = format!("the function `{}` has {lines} lines", signature.ident);
        let mend = format!("at most {FUNCTION_LINES_MAX}: give its steps names");
        // A test's table of cases may be long; it is said all the same.
        self.findings.push(if self.file.in_test(first) {
            Finding::warned(&self.file.path, first, what, mend)
        } else {
            Finding::refused(&self.file.path, first, what, mend)
        });
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
