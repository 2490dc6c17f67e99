package receipt

// Columns is what a printer gives to a text.
var Columns = columns
