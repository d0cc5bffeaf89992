//! The control socket, for pillarboxctl.
