//! Load generator, ledger of acknowledged writes, history checkers
