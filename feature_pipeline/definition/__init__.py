"""The one definition of the features; the batch and the stream path both drive it."""
