"""What both servers are asked. Each module has `ask(session, ...)`, which tells what a server said as a dictionary: the item, the
message or name it is about, and the question, to the value; and REASONS, which differences are right."""
