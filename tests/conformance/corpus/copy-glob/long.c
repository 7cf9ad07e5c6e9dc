long
