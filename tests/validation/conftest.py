import pytest

COMMON = (
    "source,source_path,gpu,gpu_count,framework,framework_version,cuda,task,model,precision,layout,compiled,"
    "batch_per_gpu,input_shape,optimizer,throughput,unit,step_ms,peak_mem_mib,mean_power_w,notes"
)
MEDIANS = (
    "gpu,gpu_count,framework_version,model,precision,batch_per_gpu,throughput_median,n_runs,cv,unit,input_shape,"
    "optimizer,layout,peak_mem_mib"
)
KERNELS = (
    "gpu,op,split,precision,b,m,n,k,rows,cols,in_ch,out_ch,kernel_size,input_size,stride,padding,latency_ms,"
    "kernel_name,grid,block,torch,source_path"
)
TIMM = (
    "timm,somewhere,RTX 3090,1,pytorch,1.12,11.3,train,timm:resnet18,amp-fp16,nchw,0,256,3x224x224,sgd(momentum=0.9),"
    "2000.0,img/s,128.0,,,"
)
BERT = "A100 SXM4 40GB,1,1.9.0a0+df837d0,nv:bert_large_squad,tf32,16,40.0,2,0.01,seq/s,seq 384,adam,,30000"
BMM = "P100 PCIe 16GB,bmm,train,fp32,8,128,64,256,,,,,,,,,0.25,maxwell_sgemm,1x1x8,128x1x1,2.1.0,somewhere"


@pytest.fixture
def write(tmp_path):
    """Write lines as a file of measurements and return its path."""

    def written(*lines, name="some.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return written
