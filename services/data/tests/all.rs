//! A data node from outside: its port, its disk, its neighbours.

mod compactions;
mod copies;
mod crashes;
mod jobs;
mod lan;
mod reads;
mod sealing;
mod tables;
