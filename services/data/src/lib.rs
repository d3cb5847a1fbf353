//! The data service: the data blocks of every table, as sealed files
