"""From LoadGen's detail log to a typed, versioned result with a verdict."""
