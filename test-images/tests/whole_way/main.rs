//! The whole way, as processes over loopback: real keys, a real server, real agents, images of a few mebibytes.

mod finding_the_way;
mod kill;
mod one_build;
mod refusals;
mod world;
