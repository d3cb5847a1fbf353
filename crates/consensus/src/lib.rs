//! Replicated log groups over one shared write-ahead log
