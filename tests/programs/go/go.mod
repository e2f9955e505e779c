module fault

go 1.19
