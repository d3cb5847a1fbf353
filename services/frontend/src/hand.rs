//! Hands: what a frontend does to other nodes, through ports.

pub mod blocks;
pub mod health;
pub mod hedge;
pub mod index;
pub mod tables;
