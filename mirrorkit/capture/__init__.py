"""The only room with concurrency: a request comes in, a pair goes out to the sink."""
