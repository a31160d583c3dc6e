module ottla.test/gosuite

go 1.25
