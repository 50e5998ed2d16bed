module nexthos-socket-proxy

go 1.26.5
