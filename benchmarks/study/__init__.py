"""Does the order help? Tasks of the study, its raw values and the numbers made from them."""
