//! An outbound conversation.
