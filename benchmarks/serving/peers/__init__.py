"""Other ways to serve the model, each as its documentation shows it. They import only `bare`."""
